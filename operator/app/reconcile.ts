import { isDeepStrictEqual } from 'node:util';
import { assertNever } from '../../proto/errors.ts';
import type { MigratableApp } from '../../proto/migratable-app.ts';
import type { Workload } from '../../proto/migration.ts';
import { annotations, fieldManager } from '../../proto/names.ts';
import { parseCheckpoint } from '../checkpoint/parse.ts';
import type { Clock } from '../clock.ts';
import { applyStatus } from '../kube/apply.ts';
import { paths, type KubeClient } from '../kube/client.ts';
import type { ConditionValue } from '../kube/conditions.ts';
import { isAlreadyExists, isConflict, isNotFound, remedyFor } from '../kube/errors.ts';
import type { Cache, Informer } from '../kube/informer.ts';
import { isTerminating, type Deployment, type Key, type KubeObject } from '../kube/objects.ts';
import { isInjected } from '../injection/plan-injection.ts';
import { parseMigration } from '../migration/parse.ts';
import { invalidInApp } from '../policy/resolve.ts';
import { planDeployment } from './deployment.ts';
import { appOf, parseApp, workloadOfApp } from './parse.ts';
import { statusOf } from './status.ts';

export interface AppDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** What a write returned goes to the caches at once, so that the next look knows it. */
  readonly apps: Pick<Informer<KubeObject>, 'get' | 'list' | 'put'>;
  readonly deployments: Pick<Informer<Deployment>, 'get' | 'put'>;
  readonly checkpoints: Pick<Cache<KubeObject>, 'list'>;
  readonly migrations: Pick<Cache<KubeObject>, 'list'>;
}

const conflictMs = 20;
/** A template that the API server refuses may be accepted later, when a quota or a webhook has changed. */
const refusedMs = 60_000;

const notReady = (reason: string, message: string): ConditionValue => ({ status: 'False', reason, message });

/** Keeps the workload of a MigratableApp and tells what becomes of its pods. @throws ApiError, for the queue's back-off */
export async function reconcileApp(key: Key, d: AppDeps): Promise<{ readonly requeueAfterMs?: number | undefined }> {
  const object = d.apps.get(key);
  if (object === undefined || isTerminating(object)) return {};
  const { app, invalid } = parseApp(object);
  const { namespace, name } = app.metadata;
  const workload = workloadOfApp(app);
  try {
    const ready = await workloadOf(app, workload, d);
    const place = `MigratableApp ${namespace}/${name}`;
    const problems = invalid === undefined ? invalidInApp(place, app.spec) : [`${place}: ${invalid}`];
    const isIts = (its: Workload | undefined): boolean => its?.kind === workload?.kind && its?.name === workload?.name;
    const world = {
      app,
      problems,
      workload: ready,
      checkpoints: parsedIn(namespace, d.checkpoints, (each) => parseCheckpoint(each)?.checkpoint).filter(
        ({ status }) => isIts(status.workload),
      ),
      migrations: parsedIn(namespace, d.migrations, (each) => parseMigration(each)?.migration).filter(({ status }) =>
        isIts(status.workload),
      ),
    };
    const status = statusOf(world, d.clock.now());
    if (!isDeepStrictEqual(status, app.status)) {
      d.apps.put(await applyStatus(d.client, 'MigratableApp', app.metadata, status));
    }
    return ready.reason === 'Refused' ? { requeueAfterMs: refusedMs } : {};
  } catch (error) {
    if (isConflict(error)) return { requeueAfterMs: conflictMs };
    // the app is gone: its deletion wakes this key
    if (isNotFound(error)) return {};
    throw error;
  }
}

function parsedIn<T>(
  namespace: string,
  cache: Pick<Cache<KubeObject>, 'list'>,
  parse: (object: KubeObject) => T | undefined,
): readonly T[] {
  return [...cache.list()].flatMap((object) => (object.metadata.namespace === namespace ? (parse(object) ?? []) : []));
}

/** Makes or changes the app's own Deployment. @returns whether its pods can be moved */
async function workloadOf(app: MigratableApp, workload: Workload | undefined, d: AppDeps): Promise<ConditionValue> {
  const { namespace, uid } = app.metadata;
  if (workload === undefined) return notReady('SpecInvalid', 'either template or targetRef must be given');
  const first = appOf(workload, namespace, d.apps.list());
  if (first !== undefined && first.metadata.uid !== uid) {
    return notReady('TargetTaken', `MigratableApp ${first.metadata.name} is about ${workload.name} already`);
  }
  const found = d.deployments.get(`${namespace}/${workload.name}`);
  const { template } = app.spec;
  if (template === undefined) return readiness(workload, found);
  const planned = planDeployment(app, template, found);
  switch (planned.kind) {
    case 'nothing':
      return readiness(workload, found);
    case 'taken':
      return notReady('NameTaken', `there is a Deployment ${workload.name} already that is not of this MigratableApp`);
    case 'create':
      return write('POST', paths.deploymentsIn(namespace), planned.deployment, workload, d);
    case 'replace':
      return write('PUT', paths.deployment(namespace, workload.name), planned.deployment, workload, d);
    default:
      return assertNever(planned);
  }
}

async function write(
  method: 'POST' | 'PUT',
  path: string,
  body: unknown,
  workload: Workload,
  d: AppDeps,
): Promise<ConditionValue> {
  try {
    const written = (await d.client.call({ method, path, query: { fieldManager }, body })) as Deployment;
    d.deployments.put(written);
    return readiness(workload, written);
  } catch (error) {
    // somebody was faster: the watch tells
    if (isAlreadyExists(error)) return notReady('NameTaken', `there is a Deployment ${workload.name} already`);
    if (isNotFound(error) || remedyFor(error) !== 'final') throw error;
    return notReady('Refused', error instanceof Error ? error.message : String(error));
  }
}

function readiness({ kind, name }: Workload, found: Deployment | undefined): ConditionValue {
  if (found === undefined) return notReady('NotFound', `there is no ${kind} ${name}`);
  if (!isInjected(found)) {
    const message = `the pods of ${kind} ${name} have no agent: is it annotated with ${annotations.enabled}, and what did the webhook warn of?`;
    return notReady('NotInjected', message);
  }
  return { status: 'True', reason: 'Injected', message: `the pods of ${kind} ${name} have agents` };
}
