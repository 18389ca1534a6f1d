import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import express, { type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import { PodferryError } from '../proto/errors.ts';
import { errorFields, type Log } from '../proto/logging.ts';
import type { Answer } from './admission.ts';
import { answerTo, type Sources } from './answer.ts';
import type { Certificate } from './certificate.ts';
import type { Settings } from './settings.ts';

/** The API server accepts 3 MiB of an object; a review of an update holds two, escaped and wrapped. */
const longestBody = '8mb';

/** The API server waits 2 s for us (manifests/base/webhook-configuration.yaml): who takes longer to send is none. */
const defaultRequestTimeoutMs = 5000;

/**
 * Longer than the 90 s after which the API server drops an idle connection, so that it is never us who close one: a request that crosses
 * the end of its connection is not asked again. That holds for one that was opened and not used yet, too.
 */
const idleTimeoutMs = 130_000;

export interface WebhookServer {
  readonly https: Server;
  /** From now on for new connections; those that are open live on. */
  useCertificate(certificate: Certificate): void;
  /** Not ready any more, and each answer asks its connection to end. */
  leave(): void;
  /** Resolves when no connection is left, by force after the deadline. */
  close(deadlineMs: number): Promise<void>;
  readonly port: number;
}

/** Builds the server; it listens to nothing yet. `settings` is asked per request, since the CA can change. */
export function createWebhookServer(
  certificate: Certificate,
  settings: () => Settings,
  log: Log,
  requestTimeoutMs = defaultRequestTimeoutMs,
  sources: Sources = {},
): WebhookServer {
  let isLeaving = false;
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use((_request, response, next) => {
    if (isLeaving) response.setHeader('connection', 'close');
    next();
  });
  app.use(inTime(requestTimeoutMs));
  app.get('/healthz', (_request, response) => void response.type('text').send('ok'));
  app.get('/readyz', (_request, response) => {
    response
      .status(isLeaving ? 503 : 200)
      .type('text')
      .send(isLeaving ? 'leaving' : 'ok');
  });
  app.post('/mutate', express.raw({ type: 'application/json', limit: longestBody }), async (request, response) => {
    const began = performance.now();
    const answer = await answerTo(jsonOf(request), settings(), sources);
    const ms = performance.now() - began;
    response.json(answer.review);
    // The log is written while the API server already works on the answer.
    setImmediate(() => logAnswer(log, request.body, answer, ms));
  });
  app.use((_request, response) => void response.status(404).json({ error: 'not found' }));
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    // It was answered already, as one that took too long is: what comes after is the end of its connection.
    if (response.headersSent) return;
    const status = statusOf(error);
    const text = error instanceof Error ? error.message : 'failed';
    log.warn('request refused', { status, ...errorFields(error) });
    // What is left of the body is not read: the connection cannot be used again.
    response.setHeader('connection', 'close');
    response.status(status).json({ error: status === 500 ? 'internal error' : text });
  });

  const timeouts = {
    keepAliveTimeout: idleTimeoutMs,
    handshakeTimeout: requestTimeoutMs,
    // Node counts the time before a first request in; once a request has begun, inTime has its own eye on it.
    headersTimeout: idleTimeoutMs,
    requestTimeout: idleTimeoutMs,
  };
  const https = createServer({ cert: certificate.cert, key: certificate.key, minVersion: 'TLSv1.2', ...timeouts }, app);
  https.on('tlsClientError', (error) => log.debug('tls handshake failed', errorFields(error)));
  return {
    https,
    useCertificate: ({ cert, key }) => https.setSecureContext({ cert, key, minVersion: 'TLSv1.2' }),
    leave: () => {
      isLeaving = true;
    },
    close: (deadlineMs) => closed(https, deadlineMs),
    get port() {
      return (https.address() as AddressInfo).port;
    },
  };
}

/** Refuses a request whose body has not come in time. */
function inTime(timeoutMs: number): RequestHandler {
  return (request, response, next) => {
    const timer = setTimeout(() => {
      if (response.headersSent) return;
      response.setHeader('connection', 'close');
      response.status(408).json({ error: `the request has not come whole within ${timeoutMs} ms` });
    }, timeoutMs);
    for (const end of ['end', 'close'] as const) request.once(end, () => clearTimeout(timer));
    next();
  };
}

function jsonOf(request: Request): unknown {
  if (!Buffer.isBuffer(request.body)) {
    throw new PodferryError('REQUEST_INVALID', 'the request has no body of type application/json', { status: 415 });
  }
  try {
    return JSON.parse(request.body.toString('utf8'));
  } catch (cause) {
    throw new PodferryError('REQUEST_INVALID', 'the body is no JSON', {}, { cause });
  }
}

/** body-parser's errors carry a status; everything of a client's that we refuse is a 4xx with its reason. */
function statusOf(error: unknown): number {
  if (error instanceof PodferryError && error.code === 'REQUEST_INVALID') return Number(error.detail['status'] ?? 400);
  const status = error instanceof Error && 'status' in error ? error.status : undefined;
  return typeof status === 'number' && status >= 400 && status < 500 ? status : 500;
}

function logAnswer(log: Log, body: unknown, { outcome, skip, error, object }: Answer, ms: number): void {
  const bytes = Buffer.isBuffer(body) ? body.length : 0;
  const fields = { outcome, ...object, bytes, tookMs: Math.round(ms * 10) / 10, ...(skip && { skip: skip.code }) };
  if (outcome === 'failed') log.error('injection failed', { ...fields, ...errorFields(error) });
  else if (outcome === 'ignored' || outcome === 'unchanged') log.debug('review answered', fields);
  else log.info('review answered', fields);
}

function closed(https: Server, deadlineMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => https.closeAllConnections(), deadlineMs);
    https.close((error) => {
      clearTimeout(timer);
      if (error === undefined) resolve();
      else reject(error);
    });
  });
}
