import { z } from 'zod';
import { MigrationSpec, MigrationStatus, type Migration } from '../../proto/migration.ts';
import type { KubeObject } from '../kube/objects.ts';

export interface Parsed {
  readonly migration: Migration;
  /** Why the spec cannot be worked on. */
  readonly invalid?: string;
}

/**
 * A Migration as the API server sent it. The CRD's schema keeps most mistakes out; a spec that gets in nevertheless makes
 * the Migration fail, never the operator.
 * @returns undefined when its status is none of ours: then nothing is known about the move, and nothing may be done
 */
export function parseMigration(object: KubeObject): Parsed | undefined {
  const known = parsedOnce.get(object);
  if (known !== undefined) return known.parsed;
  const parsed = parse(object);
  parsedOnce.set(object, { parsed });
  return parsed;
}

/**
 * Every word of an agent looks through all Migrations, most of them finished long ago, while a process may be stopped:
 * each object is parsed once. Objects in the caches are never changed, only replaced.
 */
const parsedOnce = new WeakMap<KubeObject, { readonly parsed: Parsed | undefined }>();

function parse(object: KubeObject): Parsed | undefined {
  const raw = object as KubeObject & { readonly spec?: unknown; readonly status?: unknown };
  const spec = MigrationSpec.safeParse(raw.spec ?? {});
  const status = MigrationStatus.safeParse(raw.status ?? {});
  if (!status.success) return undefined;
  const { metadata } = object;
  const migration: Migration = {
    metadata: { ...metadata, namespace: metadata.namespace ?? 'default', generation: metadata.generation ?? 1 },
    spec: spec.success ? spec.data : unreadable,
    status: status.data,
  };
  return spec.success ? { migration } : { migration, invalid: z.prettifyError(spec.error) };
}

const unreadable: MigrationSpec = { podName: '', strategy: 'lazy-hybrid', timeoutSeconds: 300 };
