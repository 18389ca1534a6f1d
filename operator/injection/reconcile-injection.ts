import { assertNever, type ErrorCode, isErrorCode } from '../../proto/errors.ts';
import { errorFields, type Log } from '../../proto/logging.ts';
import { annotations, fieldManager } from '../../proto/names.ts';
import type { Clock } from '../clock.ts';
import { patchTypes, paths, type KubeClient } from '../kube/client.ts';
import { isNotFound, remedyFor } from '../kube/errors.ts';
import type { Events } from '../kube/events.ts';
import type { Informer } from '../kube/informer.ts';
import type { Deployment, Key } from '../kube/objects.ts';
import { isInjected, patienceMs, planInjection, type Seen } from './plan-injection.ts';

export interface InjectionDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: Events;
  readonly deployments: Pick<Informer<Deployment>, 'get' | 'put'>;
  /** Deployments may be changed, so that the webhook looks at them again. */
  readonly isRepairing: boolean;
  /** Of Deployments that are not injected; kept here from call to call. */
  readonly seen: Map<Key, Seen>;
}

/** A webhook that did not answer is asked again after this long. */
const askAgainMs = 300_000;

interface Fault {
  readonly code: ErrorCode;
  readonly message: string;
}

/**
 * Finds Deployments that have opted in and are not injected, tells of each once in a generation, and repairs them if that is wanted.
 * @throws ApiError, for the queue's back-off
 */
export async function reconcileInjection(key: Key, d: InjectionDeps): Promise<{ readonly requeueAfterMs?: number }> {
  const deployment = d.deployments.get(key);
  const nowMs = d.clock.now();
  const next = deployment && planInjection(deployment, d.seen.get(key), { isRepairing: d.isRepairing, nowMs });
  if (deployment === undefined || next === undefined || next.kind === 'forget') {
    d.seen.delete(key);
    return {};
  }
  d.seen.set(key, next.seen);
  switch (next.kind) {
    case 'wait':
      return next.afterMs === undefined ? {} : { requeueAfterMs: next.afterMs };
    case 'report':
      await tell(
        deployment,
        { code: 'NOT_INJECTED', message: `the webhook did not see it, or skipped it: ${advice(deployment)}` },
        d,
      );
      settle(next.seen);
      return {};
    case 'repair':
      return repair(deployment, next.seen);
    default:
      return assertNever(next);
  }

  function settle(seen: Seen): void {
    d.seen.set(key, { ...seen, isSettled: true });
  }

  /** Not before its time either when the Deployment's status changes meanwhile. */
  function askLater(seen: Seen): { readonly requeueAfterMs: number } {
    d.seen.set(key, { ...seen, sinceMs: nowMs + askAgainMs - patienceMs });
    return { requeueAfterMs: askAgainMs };
  }

  async function repair(given: Deployment, seen: Seen): Promise<{ readonly requeueAfterMs?: number }> {
    try {
      // What the webhook would make of it is known before anything is changed.
      const trial = await touch(given, { isTrial: true }, d);
      if (isInjected(trial.deployment)) {
        const { deployment: stored } = await touch(given, { isTrial: false }, d);
        d.deployments.put(stored);
        if (!isInjected(stored)) return askLater(seen);
        d.log.info('injection repaired', { namespace: given.metadata.namespace, deployment: given.metadata.name });
        d.seen.delete(key);
        return {};
      }
      if (trial.fault !== undefined) {
        await tell(given, trial.fault, d);
        settle(seen);
        return {};
      }
      const message = 'the webhook was asked and did not answer: does it run, and does it see the namespace?';
      await tell(given, { code: 'NOT_INJECTED', message }, d);
      return askLater(seen);
    } catch (error) {
      if (isNotFound(error)) return {};
      if (remedyFor(error) !== 'final') throw error;
      const message = `the Deployment could not be changed: ${error instanceof Error ? error.message : String(error)}`;
      d.log.warn('injection not repaired', { ...errorFields(error), deployment: key });
      await tell(given, { code: 'NOT_INJECTED', message }, d);
      settle(seen);
      return {};
    }
  }
}

function advice({ metadata }: Deployment): string {
  return `kubectl annotate -n ${metadata.namespace} deployment ${metadata.name} --overwrite ${annotations.reinject}=again asks it and shows why`;
}

/** A change of the Deployment that is none of its template, for which the webhook injects what it left alone before. */
async function touch(
  { metadata }: Deployment,
  { isTrial }: { readonly isTrial: boolean },
  d: InjectionDeps,
): Promise<{ readonly deployment: Deployment; readonly fault: Fault | undefined }> {
  let fault: Fault | undefined;
  const { namespace = 'default', name, uid, resourceVersion } = metadata;
  const mark = new Date(d.clock.now()).toISOString();
  const deployment = (await d.client.call({
    method: 'PATCH',
    path: paths.deployment(namespace, name),
    query: { fieldManager, dryRun: isTrial ? 'All' : undefined },
    contentType: patchTypes.merge,
    body: { metadata: { uid, resourceVersion, annotations: { [annotations.reinject]: mark } } },
    onWarning: (text) => {
      fault ??= faultIn(text);
    },
  })) as Deployment;
  return { deployment, fault };
}

/** The webhook's warnings begin with "podferry: CODE: ". */
function faultIn(warning: string): Fault | undefined {
  const [, code = '', message = ''] = /^podferry: ([A-Z_]+): (.*)$/.exec(warning) ?? [];
  return isErrorCode(code) ? { code, message } : undefined;
}

async function tell({ metadata }: Deployment, { code, message }: Fault, d: InjectionDeps): Promise<void> {
  const { namespace = 'default', name, uid, generation = 0 } = metadata;
  d.log.warn('opted-in workload is not injected', { namespace, deployment: name, generation, code });
  await d.events.tell(
    { kind: 'Deployment', namespace, name, uid },
    { type: 'Warning', reason: 'NotInjected', message: `${code}: generation ${generation}: ${message}` },
  );
}
