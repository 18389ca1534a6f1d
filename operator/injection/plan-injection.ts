import { annotations } from '../../proto/names.ts';
import { isTerminating, type Deployment } from '../kube/objects.ts';

/** What is known of a Deployment that is not injected. A restart forgets it, which costs a minute and a look. */
export interface Seen {
  readonly uid: string;
  readonly generation: number;
  /** A minute after this something is done about it. */
  readonly sinceMs: number;
  /** It is told why, and nothing changes that before its next generation. */
  readonly isSettled: boolean;
}

export type InjectionPlan =
  /** It is as it should be, or nobody asked for more. */
  | { readonly kind: 'forget' }
  /** `afterMs` undefined: until it changes. */
  | { readonly kind: 'wait'; readonly seen: Seen; readonly afterMs?: number }
  | { readonly kind: 'report'; readonly seen: Seen }
  /** The webhook is to look at it again. */
  | { readonly kind: 'repair'; readonly seen: Seen };

/** A rollout by hand, or by a tool that writes in several steps, may be in between for so long. */
export const patienceMs = 60_000;

/** What to do about a Deployment that may have opted in while the webhook was away. */
export function planInjection(
  deployment: Deployment,
  known: Seen | undefined,
  { isRepairing, nowMs }: { readonly isRepairing: boolean; readonly nowMs: number },
): InjectionPlan {
  if (!hasOptedIn(deployment) || isInjected(deployment) || isTerminating(deployment)) return { kind: 'forget' };
  const { uid, generation = 0 } = deployment.metadata;
  const isKnown = known?.uid === uid && known.generation === generation;
  const seen = isKnown ? known : { uid, generation, sinceMs: nowMs, isSettled: false };
  if (seen.isSettled) return { kind: 'wait', seen };
  const afterMs = seen.sinceMs + patienceMs - nowMs;
  if (afterMs > 0) return { kind: 'wait', seen, afterMs };
  return { kind: isRepairing ? 'repair' : 'report', seen };
}

/** As the webhook reads it: the pod template's annotation wins over the Deployment's. */
function hasOptedIn({ metadata, spec }: Deployment): boolean {
  const { [annotations.enabled]: inTemplate } = spec.template.metadata?.annotations ?? {};
  return (inTemplate ?? metadata.annotations?.[annotations.enabled]) === 'true';
}

export function isInjected({ spec }: Deployment): boolean {
  return spec.template.metadata?.annotations?.[annotations.injected] !== undefined;
}
