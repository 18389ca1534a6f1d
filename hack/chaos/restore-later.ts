import { randomUUID } from 'node:crypto';
import { annotations } from '../../proto/names.ts';
import { AppPhase, OrderKind, OrderStatus, type AgentState, type Order } from '../../proto/gen/agent/v1/agent.ts';
import type { TakenCheckpoint } from '../../proto/migration.ts';
import * as given from '../../test/fakes/operator-objects.ts';
import type { Cluster } from './cluster.ts';
import { until } from './pod.ts';

const orderMs = 60_000;

/** Restores a complete checkpoint into a new pod, as one would whose node is gone. @returns its uid */
export async function restoreLater(cluster: Cluster, checkpoint: TakenCheckpoint): Promise<string> {
  const [uid, migrationUid] = [randomUUID(), randomUUID()];
  const { metadata, spec } = given.target({ metadata: { uid } });
  const marks = { ...metadata.annotations, [annotations.restore]: migrationUid };
  await cluster.create({ metadata: { ...metadata, uid, annotations: marks }, spec }, migrationUid);
  const state = (): AgentState | undefined => {
    const view = cluster.hub.agents.view(uid);
    return view?.isConnected === true ? view.state : undefined;
  };
  await until('a pod for a later restore', () => state()?.phase === AppPhase.APP_PHASE_WAITING || undefined);
  const { id, manifestKey, manifestSha256 } = checkpoint;
  for (const kind of [OrderKind.ORDER_KIND_RESTORE, OrderKind.ORDER_KIND_CONTINUE]) {
    const order: Order = {
      kind,
      migrationUid,
      attempt: 1,
      timeoutMs: orderMs,
      checkpoint: { id, manifestKey, manifestSha256 },
      direct: undefined,
      options: undefined,
    };
    const isDone = await until(
      `the end of ${OrderKind[kind]}`,
      () => {
        cluster.hub.agents.order(uid, order);
        const now = state();
        if (now?.order !== kind || now.status === OrderStatus.ORDER_STATUS_WORKING) return undefined;
        return { failure: now.failure };
      },
      orderMs,
    );
    if (isDone.failure !== undefined) throw new Error(`a later restore failed: ${isDone.failure.message}`);
  }
  return uid;
}
