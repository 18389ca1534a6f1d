import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';

const program = 'docker-registry';
const readyWithinMs = 10_000;

/** Why there can be no registry here; undefined when there can. */
export function whyNoRegistry(): string | undefined {
  const { error } = spawnSync(program, ['--version'], { stdio: 'ignore' });
  return error === undefined ? undefined : `${program} cannot be started (Debian: apt-get install docker-registry)`;
}

export interface RegistryOptions {
  /** PEM; with it the registry speaks TLS. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string };
  /** Lines of htpasswd, bcrypt; with them it asks for Basic. */
  readonly htpasswd?: { readonly lines: string; readonly username: string; readonly password: string };
  /** URL of a token server that signs with this certificate. */
  readonly token?: {
    readonly realm: string;
    readonly issuer: string;
    readonly service: string;
    readonly rootCert: string;
    readonly pushToken: (repository: string) => string;
  };
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly os: string; readonly architecture: string };
}

/** A real registry on a free port of loopback, its images in a directory that goes with it. */
export interface Registry {
  readonly host: string;
  pushBlob(repository: string, mediaType: string, content: string): Promise<Descriptor>;
  pushManifest(repository: string, version: string, mediaType: string, content: object): Promise<Descriptor>;
  stop(): Promise<void>;
}

export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  const directory = await mkdtemp(join(tmpdir(), 'podferry-registry-'));
  const port = await freePort();
  const host = `localhost:${port}`;
  const files: Readonly<Record<string, string | undefined>> = {
    'tls.crt': options.tls?.cert,
    'tls.key': options.tls?.key,
    htpasswd: options.htpasswd?.lines,
    'token.crt': options.token?.rootCert,
  };
  for (const [name, content] of Object.entries(files)) {
    if (content !== undefined) await writeFile(join(directory, name), content);
  }
  const config = {
    version: 0.1,
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(directory, 'data') } },
    http: {
      addr: `127.0.0.1:${port}`,
      secret: 'test',
      ...(options.tls && { tls: { certificate: join(directory, 'tls.crt'), key: join(directory, 'tls.key') } }),
    },
    ...(options.htpasswd && { auth: { htpasswd: { realm: 'test', path: join(directory, 'htpasswd') } } }),
    ...(options.token && {
      auth: {
        token: {
          realm: options.token.realm,
          service: options.token.service,
          issuer: options.token.issuer,
          rootcertbundle: join(directory, 'token.crt'),
        },
      },
    }),
  };
  await writeFile(join(directory, 'config.yml'), stringify(config));
  const child = spawn(program, ['serve', join(directory, 'config.yml')], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, OTEL_TRACES_EXPORTER: 'none' },
  });
  const ended = once(child, 'exit');
  const complaint = text(child.stderr);
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
    await rm(directory, { recursive: true });
  };

  const { htpasswd, tls, token } = options;
  const authorizationFor = (path: string): string | undefined => {
    const repository = /^\/v2\/(.+)\/(?:blobs|manifests)\//.exec(path)?.[1];
    if (token !== undefined && repository !== undefined) return `Bearer ${token.pushToken(repository)}`;
    return htpasswd && `Basic ${Buffer.from(`${htpasswd.username}:${htpasswd.password}`).toString('base64')}`;
  };

  async function ask(
    method: string,
    path: string,
    body = '',
    type = 'application/octet-stream',
  ): Promise<{ readonly status: number; readonly location: string }> {
    const url = new URL(path, `${tls === undefined ? 'http' : 'https'}://${host}`);
    const authorization = authorizationFor(path);
    const headers = {
      'content-type': type,
      'content-length': Buffer.byteLength(body),
      ...(authorization && { authorization }),
    };
    return new Promise((resolve, reject) => {
      const request =
        tls === undefined
          ? http.request(url, { method, headers })
          : https.request(url, { method, headers, ca: tls.ca });
      request.on('response', (response) => {
        response.resume();
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, location: response.headers.location ?? '' }),
        );
      });
      request.on('error', reject);
      request.end(body);
    });
  }

  async function mustAsk(status: number, ...[method, path, ...rest]: Parameters<typeof ask>): Promise<string> {
    const answer = await ask(method, path, ...rest);
    if (answer.status !== status) throw new Error(`${method} ${path}: ${answer.status}`);
    return answer.location;
  }

  const until = Date.now() + readyWithinMs;
  for (;;) {
    const isThere = await ask('GET', '/v2/').then(
      ({ status }) => status === 200 || status === 401,
      () => false,
    );
    if (isThere) break;
    if (child.exitCode !== null || Date.now() > until) {
      await stop();
      throw new Error(`${program} is not there: ${await complaint}`);
    }
    await delay(20);
  }

  return {
    host,
    stop,
    async pushBlob(repository, mediaType, content) {
      const digest = digestOf(content);
      const upload = await mustAsk(202, 'POST', `/v2/${repository}/blobs/uploads/`);
      const url = new URL(upload, `http://${host}`);
      url.searchParams.set('digest', digest);
      await mustAsk(201, 'PUT', url.pathname + url.search, content);
      return { mediaType, digest, size: Buffer.byteLength(content) };
    },
    async pushManifest(repository, version, mediaType, content) {
      const body = JSON.stringify(content);
      const digest = digestOf(body);
      await mustAsk(201, 'PUT', `/v2/${repository}/manifests/${version === '' ? digest : version}`, body, mediaType);
      return { mediaType, digest, size: Buffer.byteLength(body) };
    },
  };
}

export function digestOf(content: string): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
