import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { KubeConfig } from '@kubernetes/client-node';
import { createLog, errorFields, type Log } from '../proto/logging.ts';
import { leaderLease } from '../proto/names.ts';
import { systemClock } from './clock.ts';
import { parseConfig, type Config } from './config.ts';
import { createHealthServer } from './health.ts';
import { createTlsServer, keepCertificate, readKeyPair } from './hub/tls.ts';
import { createKeys } from './keys/keys.ts';
import { awaitMasterKey } from './keys/master-key.ts';
import { createKubeClient, type KubeClient } from './kube/client.ts';
import { createLeader, type Leader } from './kube/leader.ts';
import { markLeader, unmarkLeader } from './leading.ts';
import { createOperator, type Operator } from './operator.ts';
import { openObjectStore } from './store/object-store.ts';
import { createScopedStores } from './store/scoped-store.ts';

const certificateEveryMs = 10_000;
const syncEveryMs = 100;
const stopWithinMs = 10_000;

/** @returns the exit code: 0 after SIGTERM or SIGINT, 1 when leadership was lost, so that the container starts clean */
async function run(config: Config, log: Log): Promise<number> {
  const kube = new KubeConfig();
  kube.loadFromDefault();
  const client = createKubeClient(kube);
  const stopping = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stopping.abort());
  const masterKey = await awaitMasterKey(
    client,
    config.namespace,
    (error) => log.warn('master key not read yet', errorFields(error)),
    stopping.signal,
  );
  const { store, role, prefix, retention, namespace, isRepairing } = config;
  const scoped = role && createScopedStores(store, role);
  const keys = createKeys(masterKey);
  const objects = openObjectStore(store);
  const settings = { store, scoped, objects, prefix, retention, keys, namespace, isRepairing };
  const operator = createOperator({ client, clock: systemClock, log, ...settings });

  const health = createHealthServer(() => operator.problems());
  health.listen(config.healthPort);
  await once(health, 'listening');
  const pair = await readKeyPair(config.tlsDir);
  const hub = createTlsServer(pair, (socket) => operator.hub.accept(socket));
  hub.listen(config.hubPort);
  await once(hub, 'listening');
  const certificate = keepCertificate({
    dir: config.tlsDir,
    inUse: pair,
    server: hub,
    everyMs: certificateEveryMs,
    signal: stopping.signal,
    onChange: () => log.info('certificate renewed'),
    onError: (error) => log.warn('certificate not renewed', errorFields(error)),
  });

  operator.start();
  const leader = createLeader({
    client,
    clock: systemClock,
    namespace: config.namespace,
    lease: leaderLease,
    identity: `${config.podName ?? 'local'}_${randomUUID()}`,
    onError: (error) => log.warn('lease not renewed', errorFields(error)),
  });
  const isLost = await leadUntilStopped({ config, client, leader, operator, log, signal: stopping.signal });

  stopping.abort();
  hub.close();
  health.close();
  await operator.stop();
  scoped?.close();
  objects?.close();
  if (!isLost) await leader.release();
  await certificate;
  return isLost ? 1 : 0;
}

/** @returns true when leadership was lost rather than given up */
async function leadUntilStopped(o: {
  readonly config: Config;
  readonly client: KubeClient;
  readonly leader: Leader;
  readonly operator: Operator;
  readonly log: Log;
  readonly signal: AbortSignal;
}): Promise<boolean> {
  const { config, client, leader, operator, log, signal } = o;
  try {
    if (config.podName !== undefined) await unmarkLeader(client, config.namespace, config.podName);
    while (operator.problems().length > 0) await delay(syncEveryMs, undefined, { signal });
    log.info('ready to lead');
    await leader.acquire(signal);
    // leading must be given up in time even while the first work is done
    const held = leader.hold(signal);
    operator.lead();
    log.info('leading');
    if (config.podName !== undefined) await markLeader(client, config.namespace, config.podName);
    await held;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  if (!signal.aborted) log.error('leadership lost');
  return !signal.aborted;
}

async function main(): Promise<void> {
  const log = createLog('operator', process.env['PODFERRY_LOG_LEVEL']);
  try {
    const code = await run(parseConfig(process.env), log);
    process.exitCode = code;
  } catch (error) {
    log.error('operator failed', errorFields(error));
    process.exitCode = 1;
  }
  // what still holds the process (a stream that does not end) must not keep the next one waiting
  setTimeout(() => process.exit(), stopWithinMs).unref();
}

await main();
