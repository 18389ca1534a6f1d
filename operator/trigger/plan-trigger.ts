import { createHash } from 'node:crypto';
import { MigrationSpec, strategies, type Migration, type Strategy } from '../../proto/migration.ts';
import { annotations, labels } from '../../proto/names.ts';
import { isTerminating, type Pod } from '../kube/objects.ts';
import { isFinished } from '../migration/conditions.ts';

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
export function planTrigger(pod: Pod, existing: readonly Migration[]): TriggerPlan {
  const {
    [annotations.trigger]: trigger,
    [annotations.reason]: reason,
    [annotations.targetNode]: targetNode,
    [annotations.strategy]: strategy,
  } = pod.metadata.annotations ?? {};
  if (trigger === undefined || isTerminating(pod)) return { kind: 'nothing' };
  if (trigger !== 'requested') {
    return { kind: 'refuse', message: `${annotations.trigger}: "${trigger.slice(0, 100)}" is none of: requested` };
  }
  if (targetNode !== undefined && !nodeName.test(targetNode)) {
    return { kind: 'refuse', message: `${annotations.targetNode}: "${targetNode.slice(0, 100)}" is no name of a node` };
  }
  if (strategy !== undefined && !isStrategy(strategy)) {
    const known = strategies.join(', ');
    return { kind: 'refuse', message: `${annotations.strategy}: "${strategy.slice(0, 100)}" is none of: ${known}` };
  }
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
      ...(strategy === undefined ? {} : { strategy }),
      ...(reason === undefined || reason === '' ? {} : { reason: reason.slice(0, 1_024) }),
    }),
  };
}

function isStrategy(text: string): text is Strategy {
  return strategies.some((each) => each === text);
}
