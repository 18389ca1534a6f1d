import { z } from 'zod';
import { annotations } from '../proto/names.ts';
import type { Decision, Surroundings } from './decision.ts';
import { isInjected } from './eject.ts';
import { optIn } from './eligibility.ts';
import { inject } from './inject.ts';
import { faultOfTemplate, isPodTemplate, type PodTemplate } from './pod-template.ts';
import type { Settings } from './settings.ts';

const Owned = z.looseObject({
  metadata: z.looseObject({
    annotations: z.record(z.string(), z.string()).optional(),
    ownerReferences: z
      .array(z.looseObject({ kind: z.string(), name: z.string(), uid: z.string(), controller: z.boolean().optional() }))
      .optional(),
  }),
});

/** Put by a kubelet on the pod that shows a static pod of its node. */
const mirrorAnnotation = 'kubernetes.io/config.mirror';

/** Kinds whose pods are tied to their node. */
const tied: readonly string[] = ['DaemonSet', 'Node'];

/**
 * What to do with a pod that is created. The pod itself or, by what is cached, what controls it opts in; pods of
 * ReplicaSets are left to their Deployment, and a pod that was injected already (a target of a move is) stays as it is.
 */
export function decidePod(
  object: unknown,
  settings: Settings,
  { image, annotationsOfOwner }: Surroundings,
): Decision<PodTemplate> {
  const owned = Owned.safeParse(object);
  if (!owned.success) return { outcome: 'ignored' };
  const { metadata } = owned.data;
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true);
  if (owner?.kind === 'ReplicaSet') return { outcome: 'ignored' };
  const inherited = owner === undefined ? {} : (annotationsOfOwner?.(owner.uid) ?? {});
  const isMeant = [metadata.annotations, inherited].some((one) => one?.[annotations.enabled] !== undefined);
  if (!isMeant) return { outcome: 'unchanged' };
  if (!isPodTemplate(object)) {
    return { outcome: 'skipped', skip: { code: 'TEMPLATE_INVALID', message: faultOfTemplate(object) ?? 'pod' } };
  }
  if (isInjected(object)) return { outcome: 'unchanged' };
  const { options, invalid } = optIn({ metadata: { annotations: inherited }, spec: { template: undefined } }, object);
  if (!options.enabled) return { outcome: invalid === undefined ? 'unchanged' : 'skipped', skip: invalid };
  const isMirror = metadata.annotations?.[mirrorAnnotation] !== undefined;
  if (isMirror || tied.includes(owner?.kind ?? '')) {
    const message = `a pod of a ${isMirror ? 'node' : (owner?.kind ?? '')} stays on its node`;
    return { outcome: 'skipped', skip: { code: 'OWNER_UNSUPPORTED', message } };
  }
  if ((object.spec.serviceAccountName ?? '') === '') {
    // Set by the server's own admission before ours; without it the server would refuse the pod for our token's sake.
    const message = 'spec.serviceAccountName: the pod has none, and the token of the agent needs one';
    return { outcome: 'skipped', skip: { code: 'TEMPLATE_INVALID', message } };
  }
  const injection = inject(object, options, settings, image);
  if (injection.injected) return { outcome: 'injected', template: injection.template };
  return { outcome: 'skipped', skip: injection.skip, image: injection.image };
}
