import { z } from 'zod';
import { CheckpointSpec, CheckpointStatus, type Checkpoint } from '../../proto/checkpoint.ts';
import type { KubeObject } from '../kube/objects.ts';

export interface ParsedCheckpoint {
  readonly checkpoint: Checkpoint;
  /** Why the spec cannot be worked on. */
  readonly invalid?: string;
}

/** Objects in the caches are never changed, only replaced: each is parsed once. */
const parsedOnce = new WeakMap<KubeObject, { readonly parsed: ParsedCheckpoint | undefined }>();

/**
 * A Checkpoint as the API server sent it.
 * @returns undefined when its status is none of ours: then nothing is known about it, and nothing may be done
 */
export function parseCheckpoint(object: KubeObject): ParsedCheckpoint | undefined {
  const known = parsedOnce.get(object);
  if (known !== undefined) return known.parsed;
  const parsed = parse(object);
  parsedOnce.set(object, { parsed });
  return parsed;
}

function parse(object: KubeObject): ParsedCheckpoint | undefined {
  const raw = object as KubeObject & { readonly spec?: unknown; readonly status?: unknown };
  const spec = CheckpointSpec.safeParse(raw.spec ?? {});
  const status = CheckpointStatus.safeParse(raw.status ?? {});
  if (!status.success) return undefined;
  const { metadata } = object;
  const checkpoint: Checkpoint = {
    metadata: { ...metadata, namespace: metadata.namespace ?? 'default', generation: metadata.generation ?? 1 },
    spec: spec.success ? spec.data : { podName: '' },
    status: status.data,
  };
  return spec.success ? { checkpoint } : { checkpoint, invalid: z.prettifyError(spec.error) };
}
