import { annotations, servingGate } from '../../proto/names.ts';
import { AppPhase } from '../../proto/gen/agent/v1/agent.ts';
import type { MigrationStatus } from '../../proto/migration.ts';
import { isRunning, type AgentView } from '../hub/agents.ts';
import { conditionStatus, controllerOf, hasEnded, isTerminating, type Pod } from '../kube/objects.ts';
import { isCommitted } from '../migration/conditions.ts';

export interface ServingInput {
  readonly pod: Pod;
  readonly agent: AgentView | undefined;
  /** Of the Migrations that move this pod away. */
  readonly asSource: readonly MigrationStatus[];
  /** Of the Migration that brings a process to this pod. */
  readonly asTarget: MigrationStatus | undefined;
}

export interface ServingValue {
  readonly status: 'True' | 'False';
  /** PascalCase. */
  readonly reason: string;
}

/**
 * What our readiness gate should say; undefined to leave it as it is. It turns True when the application runs here and False
 * when it has moved away. In between it stays: a crash is the probes' business, and during a freeze connections wait.
 */
export function planServing({ pod, agent, asSource, asTarget }: ServingInput): ServingValue | undefined {
  const value = wanted(pod, agent, asSource, asTarget);
  return value?.status === conditionStatus(pod, servingGate) ? undefined : value;
}

function wanted(
  pod: Pod,
  agent: AgentView | undefined,
  asSource: readonly MigrationStatus[],
  asTarget: MigrationStatus | undefined,
): ServingValue | undefined {
  const hasGate = pod.spec.readinessGates?.some((gate) => gate.conditionType === servingGate) ?? false;
  if (!hasGate || isTerminating(pod) || hasEnded(pod)) return undefined;
  if (asSource.some(isCommitted) || agent?.state?.phase === AppPhase.APP_PHASE_MOVED) {
    return { status: 'False', reason: 'MovedAway' };
  }
  if (!isRunning(agent)) return undefined;
  // a target is nobody's until the cutover; before the commit its process must not be let loose on traffic
  const isTarget = pod.metadata.annotations?.[annotations.restore] !== undefined && controllerOf(pod) === undefined;
  if (isTarget && (asTarget === undefined || !isCommitted(asTarget))) return undefined;
  return { status: 'True', reason: 'Running' };
}
