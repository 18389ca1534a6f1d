import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../clock.ts';
import { pathTo, paths, type KubeClient } from './client.ts';
import { isAlreadyExists, isConflict, isNotFound } from './errors.ts';

export interface LeaderOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly namespace: string;
  readonly lease: string;
  /** Who we are: unique per process, so that a restarted container is another candidate. */
  readonly identity: string;
  readonly leaseMs?: number;
  readonly renewWithinMs?: number;
  readonly retryMs?: number;
  readonly onError: (error: unknown) => void;
}

export interface Leader {
  /** Resolves when we lead; rejects only with the signal's reason. */
  acquire(signal: AbortSignal): Promise<void>;
  /** Renews until we no longer lead: resolves when the lease could not be renewed in time or another holds it. */
  hold(signal: AbortSignal): Promise<void>;
  /** Gives the lease back, so that the next leader need not wait for it to end. */
  release(): Promise<void>;
}

interface Lease {
  readonly metadata: { readonly resourceVersion: string };
  readonly spec?: {
    readonly holderIdentity?: string | null;
    readonly renewTime?: string | null;
    readonly leaseDurationSeconds?: number | null;
    readonly leaseTransitions?: number | null;
  };
}

/**
 * Leader election by a Lease, as client-go does it: 15 s lease, 10 s to renew, a try every 2 s. Whether another's lease
 * has ended is judged by our own clock since we last saw it change, so clocks that differ do no harm. Being leader is
 * no fence: writes are protected by resource versions, orders by migration uid and attempt.
 */
export function createLeader(options: LeaderOptions): Leader {
  const { client, clock, namespace, lease, identity, onError } = options;
  const { leaseMs = 15_000, renewWithinMs = 10_000, retryMs = 2_000 } = options;
  const path = pathTo(paths.leasesIn(namespace), lease);
  let seen = '';
  let seenAtMs = 0;

  async function read(): Promise<Lease | undefined> {
    try {
      return (await client.call({ method: 'GET', path, timeoutMs: renewWithinMs / 2 })) as Lease;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** True when we hold the lease now. */
  async function tryHold(): Promise<boolean> {
    const current = await read();
    if (current === undefined) {
      await write('POST', paths.leasesIn(namespace), undefined);
      return true;
    }
    const holder = current.spec?.holderIdentity ?? '';
    if (holder !== identity && holder !== '' && !hasEnded(current)) return false;
    await write('PUT', path, current);
    return true;
  }

  function hasEnded(current: Lease): boolean {
    const { resourceVersion } = current.metadata;
    if (resourceVersion !== seen) {
      seen = resourceVersion;
      seenAtMs = clock.now();
    }
    const durationMs = (current.spec?.leaseDurationSeconds ?? leaseMs / 1_000) * 1_000;
    return clock.now() - seenAtMs > durationMs;
  }

  async function write(
    method: 'POST' | 'PUT',
    to: string,
    current: Lease | undefined,
    holder = identity,
  ): Promise<void> {
    const isOurs = current?.spec?.holderIdentity === identity;
    const transitions = current?.spec?.leaseTransitions ?? 0;
    await client.call({
      method,
      path: to,
      timeoutMs: renewWithinMs / 2,
      body: {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: {
          name: lease,
          namespace,
          ...(current === undefined ? {} : { resourceVersion: current.metadata.resourceVersion }),
        },
        spec: {
          ...current?.spec,
          holderIdentity: holder,
          leaseDurationSeconds: holder === '' ? 1 : Math.ceil(leaseMs / 1_000),
          renewTime: microTime(clock.now()),
          ...(isOurs ? {} : { acquireTime: microTime(clock.now()), leaseTransitions: transitions + 1 }),
        },
      },
    });
  }

  /** A lost race is an ordinary answer; anything else is told and counts as not held. */
  async function holdsNow(): Promise<boolean | 'unknown'> {
    try {
      return await tryHold();
    } catch (error) {
      if (isConflict(error) || isAlreadyExists(error)) return false;
      onError(error);
      return 'unknown';
    }
  }

  return {
    async acquire(signal) {
      while ((await holdsNow()) !== true) await delay(retryMs * (0.9 + Math.random() / 5), undefined, { signal });
    },

    async hold(signal) {
      let renewedMs = clock.now();
      while (!signal.aborted) {
        await pause(retryMs, signal);
        if (signal.aborted) return;
        const beganMs = clock.now();
        const held = await holdsNow();
        // counted from before the call: its answer may have been long on the way
        if (held === true) renewedMs = beganMs;
        else if (held === false && !(await isStillOurs())) return;
        if (clock.now() - renewedMs > renewWithinMs) return;
      }
    },

    async release() {
      const current = await read();
      if (current?.spec?.holderIdentity === identity) await write('PUT', path, current, '');
    },
  };

  /** After a lost race: a conflict with a stranger's edit of the lease is no loss of leadership. */
  async function isStillOurs(): Promise<boolean> {
    try {
      return (await read())?.spec?.holderIdentity === identity;
    } catch (error) {
      onError(error);
      return true;
    }
  }
}

/** Waits; an aborted wait is simply over. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Leases want microseconds. */
function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}
