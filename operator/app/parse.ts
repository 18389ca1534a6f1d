import { z } from 'zod';
import { MigratableAppSpec, MigratableAppStatus, type MigratableApp } from '../../proto/migratable-app.ts';
import type { Workload } from '../../proto/migration.ts';
import type { KubeObject } from '../kube/objects.ts';

export interface ParsedApp {
  readonly app: MigratableApp;
  /** Why the spec cannot be worked on; the spec is empty then. */
  readonly invalid?: string;
}

/** Objects in the caches are never changed, only replaced. */
const parsedOnce = new WeakMap<KubeObject, ParsedApp>();

/** A MigratableApp as the API server sent it. A status that is none of ours is written anew: all of it but the history follows from the cluster. */
export function parseApp(object: KubeObject): ParsedApp {
  const known = parsedOnce.get(object);
  if (known !== undefined) return known;
  const raw = object as KubeObject & { readonly spec?: unknown; readonly status?: unknown };
  const spec = MigratableAppSpec.safeParse(raw.spec ?? {});
  const status = MigratableAppStatus.safeParse(raw.status ?? {});
  const { metadata } = object;
  const app: MigratableApp = {
    metadata: { ...metadata, namespace: metadata.namespace ?? 'default', generation: metadata.generation ?? 1 },
    spec: spec.success ? spec.data : {},
    status: status.success ? status.data : {},
  };
  const parsed = spec.success ? { app } : { app, invalid: z.prettifyError(spec.error) };
  parsedOnce.set(object, parsed);
  return parsed;
}

/** The workload that a MigratableApp is about: its own Deployment, or the one it points to. */
export function workloadOfApp({ metadata, spec }: MigratableApp): Workload | undefined {
  if (spec.template !== undefined) return { kind: 'Deployment', name: metadata.name };
  return spec.targetRef;
}

/** The MigratableApp of a workload: the one whose own it is, else of several the one that came first. */
export function appOf(workload: Workload, namespace: string, objects: Iterable<KubeObject>): MigratableApp | undefined {
  let first: MigratableApp | undefined;
  for (const object of objects) {
    if (object.metadata.namespace !== namespace) continue;
    const { app } = parseApp(object);
    const its = workloadOfApp(app);
    if (its?.kind !== workload.kind || its.name !== workload.name) continue;
    if (first === undefined || cameFirst(app, first)) first = app;
  }
  return first;
}

function cameFirst({ metadata: a, spec }: MigratableApp, { metadata: b, spec: other }: MigratableApp): boolean {
  const [isOwn, isTheirs] = [spec.template !== undefined, other.template !== undefined];
  if (isOwn !== isTheirs) return isOwn;
  return a.creationTimestamp === b.creationTimestamp ? a.uid < b.uid : a.creationTimestamp < b.creationTimestamp;
}
