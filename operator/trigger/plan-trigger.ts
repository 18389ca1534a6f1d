import { createHash } from 'node:crypto';
import { MigrationSpec, modeNames, type Migration, type MigrationOptions } from '../../proto/migration.ts';
import { annotations, labels } from '../../proto/names.ts';
import { isTerminating, type Pod } from '../kube/objects.ts';
import { isFinished } from '../migration/conditions.ts';
import type { Policy } from '../policy/resolve.ts';

export type TriggerPlan =
  | { readonly kind: 'nothing' }
  /** The annotations say nothing that can be done. */
  | { readonly kind: 'refuse'; readonly message: string }
  /** A Migration of this pod is under way: only the annotations go. */
  | { readonly kind: 'clear' }
  | {
      readonly kind: 'create';
      readonly name: string;
      readonly spec: MigrationSpec;
      readonly labels: Readonly<Record<string, string>>;
    };

/** The annotations that a trigger consists of. */
export const triggerAnnotations = [annotations.trigger, annotations.reason, annotations.targetNode] as const;

const nodeName = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;

/**
 * What the trigger annotation of a pod asks for. The Migration's name follows from the pod and from how many it has had,
 * so that a repetition after a crash meets the Migration it has made before.
 * @param existing the Migrations of the pod's namespace
 */
export function planTrigger(
  pod: Pod,
  existing: readonly Migration[],
  { strategy, migrationTimeoutSeconds }: Pick<Policy, 'strategy' | 'migrationTimeoutSeconds'>,
): TriggerPlan {
  const {
    [annotations.trigger]: trigger,
    [annotations.reason]: reason,
    [annotations.targetNode]: targetNode,
    [annotations.mode]: mode,
    [annotations.logUpload]: logUpload,
  } = pod.metadata.annotations ?? {};
  if (trigger === undefined || isTerminating(pod)) return { kind: 'nothing' };
  if (targetNode !== undefined && !nodeName.test(targetNode)) {
    return { kind: 'refuse', message: `${annotations.targetNode}: "${targetNode.slice(0, 100)}" is no name of a node` };
  }
  const unknown =
    noneOf(annotations.trigger, trigger, ['requested']) ??
    noneOf(annotations.mode, mode, modeNames) ??
    noneOf(annotations.logUpload, logUpload, ['true', 'false']);
  if (unknown !== undefined) return { kind: 'refuse', message: unknown };
  if (!strategy.isValid) return { kind: 'refuse', message: strategy.message };
  if (!migrationTimeoutSeconds.isValid) return { kind: 'refuse', message: migrationTimeoutSeconds.message };
  const { uid, name } = pod.metadata;
  const own = existing.filter(
    ({ metadata, spec, status }) =>
      metadata.labels?.[labels.podUid] === uid ||
      (status.source === undefined ? spec.podName === name : status.source.uid === uid),
  );
  if (own.some(({ status }) => !isFinished(status))) return { kind: 'clear' };
  const mark = createHash('sha256').update(`${uid}/${own.length}`).digest('hex').slice(0, 8);
  return {
    kind: 'create',
    name: `${name.slice(0, 200)}-${mark}`,
    labels: { [labels.podUid]: uid },
    spec: MigrationSpec.parse({
      podName: name,
      ...(targetNode === undefined ? {} : { targetNode }),
      strategy: strategy.value,
      timeoutSeconds: migrationTimeoutSeconds.value,
      ...(reason === undefined || reason === '' ? {} : { reason: reason.slice(0, 1_024) }),
      ...(mode === undefined && logUpload === undefined ? {} : { options: optionsOf(mode, logUpload) }),
    }),
  };
}

/** What is wrong with an annotation that is to have one of a few values. */
function noneOf(name: string, text: string | undefined, known: readonly string[]): string | undefined {
  if (text === undefined || known.includes(text)) return undefined;
  return `${name}: "${text.slice(0, 100)}" is none of: ${known.join(', ')}`;
}

function optionsOf(
  mode: string | undefined,
  logUpload: string | undefined,
): Partial<Record<keyof MigrationOptions, unknown>> {
  return {
    ...(mode === undefined ? {} : { mode }),
    ...(logUpload === undefined ? {} : { logUpload: logUpload === 'true' }),
  };
}
