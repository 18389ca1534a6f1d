import { setTimeout as delay } from 'node:timers/promises';
import { KubeConfig } from '@kubernetes/client-node';
import { createLog, errorFields, type Log } from '../proto/logging.ts';
import { createCluster } from './cluster.ts';
import { parseConfig } from './config.ts';
import { type Deps, reconcile } from './reconcile.ts';

/** Level-triggered: each round looks at everything, so nothing is lost with a missed event. */
const roundEveryMs = 30_000;
const roundDeadlineMs = 20_000;
const retryAfterMs = 3000;

async function main(): Promise<void> {
  const config = parseConfig(process.env);
  const log = createLog('certs', config.logLevel);
  const stopping = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stopping.abort());

  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromDefault();
  const cluster = createCluster(kubeConfig, config.namespace);
  log.info('started', { namespace: config.namespace });
  while (!stopping.signal.aborted) {
    const isSettled = await round({ cluster, namespace: config.namespace, log, now: Date.now }, stopping.signal, log);
    await pause(isSettled ? roundEveryMs : retryAfterMs, stopping.signal);
  }
}

/** @returns whether everything is in order */
async function round(deps: Deps, stopping: AbortSignal, log: Log): Promise<boolean> {
  // Not AbortSignal.any with AbortSignal.timeout: Node 20 may collect the pair before it fires (nodejs/node 57736).
  const ending = new AbortController();
  const end = () => ending.abort();
  const timer = setTimeout(end, roundDeadlineMs);
  stopping.addEventListener('abort', end, { once: true });
  try {
    return await reconcile(deps, ending.signal);
  } catch (error) {
    if (!stopping.aborted) log.warn('round failed, trying again', errorFields(error));
    return false;
  } finally {
    clearTimeout(timer);
    stopping.removeEventListener('abort', end);
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

try {
  await main();
  process.exit(0);
} catch (error) {
  createLog('certs').error('certs ended', errorFields(error));
  process.exit(1);
}
