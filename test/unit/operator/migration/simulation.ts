import { assertNever } from '../../../../proto/errors.ts';
import { finalizer, podTemplateHash } from '../../../../proto/names.ts';
import { AppPhase, OrderKind, OrderStatus, type AgentState, type Order } from '../../../../proto/gen/agent/v1/agent.ts';
import type { Migration, MigrationStatus } from '../../../../proto/migration.ts';
import type { AgentView } from '../../../../operator/hub/agents.ts';
import { isReady, isTerminating, type Pod } from '../../../../operator/kube/objects.ts';
import { isCommitted, isFinished, isTrue } from '../../../../operator/migration/conditions.ts';
import { plan } from '../../../../operator/migration/plan.ts';
import type { Action, World } from '../../../../operator/migration/world.ts';
import * as given from '../../../fakes/operator-objects.ts';

/** What can happen between two looks of the operator. */
export const happenings = [
  'reconcile',
  'reconcile and crash before the status is written',
  'source agent works',
  'target agent works',
  'kubelets work',
  'replica set works',
  'time passes',
  'checkpoint fails',
  'restore fails',
  'source agent disconnects',
  'target agent disconnects',
  'agents reconnect',
  'target pod deleted',
  'target pod crashes',
  'source pod deleted',
  'target node fails',
  'migration deleted',
  'warming fails',
  'pre-copy fails',
  'target container restarts',
] as const;
export type Happening = (typeof happenings)[number];

interface SimulatedAgent {
  isConnected: boolean;
  sinceMs: number;
  phaseSinceMs: number;
  state: AgentState;
  /** Orders on their way, oldest first. */
  readonly inbox: Order[];
}

/**
 * A model of everything around the planner: the stored Migration, two pods, their agents, kubelets and the
 * ReplicaSet. Small, and as unkind as it may be: orders arrive late, agents vanish, status writes are lost.
 */
export class Simulation {
  nowMs = given.startMs;
  migration: Migration | undefined = given.migration({ metadata: { finalizers: [] } });
  source: Pod | undefined = given.pod();
  target: Pod | undefined;
  readonly sourceAgent = newAgent(AppPhase.APP_PHASE_RUNNING);
  targetAgent: SimulatedAgent | undefined;
  targetNodeIsReady = true;
  wasCommitted = false;
  private wasStopped = false;
  readonly broken: string[] = [];
  private version = 100;
  private nextTarget = 0;
  private readonly failing = new Set<OrderKind>();

  step(happening: Happening): void {
    switch (happening) {
      case 'reconcile':
        this.reconcile(true);
        break;
      case 'reconcile and crash before the status is written':
        this.reconcile(false);
        break;
      case 'source agent works':
        if (this.source !== undefined) this.work(this.sourceAgent);
        break;
      case 'target agent works':
        if (this.target !== undefined && this.targetAgent !== undefined) this.work(this.targetAgent);
        break;
      case 'kubelets work':
        this.kubelets();
        break;
      case 'replica set works':
        this.replicaSetWorks();
        break;
      case 'time passes':
        this.nowMs += 2_000;
        break;
      case 'checkpoint fails':
        this.failing.add(OrderKind.ORDER_KIND_CHECKPOINT);
        break;
      case 'restore fails':
        this.failing.add(OrderKind.ORDER_KIND_RESTORE);
        break;
      case 'source agent disconnects':
        this.disconnect(this.sourceAgent);
        break;
      case 'target agent disconnects':
        if (this.targetAgent !== undefined) this.disconnect(this.targetAgent);
        break;
      case 'agents reconnect':
        for (const agent of [this.sourceAgent, this.targetAgent]) this.connect(agent);
        break;
      case 'target pod deleted':
        if (this.target !== undefined) this.target = terminating(this.target, this.nowMs, 30);
        break;
      case 'target pod crashes':
        if (this.target !== undefined) this.target = { ...this.target, status: { phase: 'Failed' } };
        break;
      case 'source pod deleted':
        if (this.source !== undefined) this.source = terminating(this.source, this.nowMs, 30);
        break;
      case 'target node fails':
        if (this.target !== undefined) this.targetNodeIsReady = false;
        break;
      case 'migration deleted':
        this.deleteMigration();
        break;
      case 'warming fails':
        this.failing.add(OrderKind.ORDER_KIND_WARM);
        break;
      case 'target container restarts':
        // its restored process is gone with it; one that had been continued is started afresh
        if (this.targetAgent?.state.phase === AppPhase.APP_PHASE_RESTORED) {
          const { state } = this.targetAgent;
          this.report(this.targetAgent, { ...state, phase: AppPhase.APP_PHASE_WAITING, draining: false });
        }
        break;
      case 'pre-copy fails':
        this.failing.add(OrderKind.ORDER_KIND_PRECOPY);
        break;
      default:
        assertNever(happening);
    }
    this.check();
  }

  /** Lets everything work, without further faults, until the Migration is finished or time is up. */
  settle(): void {
    this.failing.clear();
    for (let round = 0; round < 200 && !this.isOver(); round += 1) {
      for (const each of settling) this.step(each);
    }
  }

  isOver(): boolean {
    return this.migration === undefined || (isFinished(this.migration.status) && !hasFinalizer(this.migration));
  }

  isRunning(agent: SimulatedAgent | undefined, pod: Pod | undefined): boolean {
    return pod !== undefined && agent?.state.phase === AppPhase.APP_PHASE_RUNNING && pod.status?.phase === 'Running';
  }

  world(): World | undefined {
    if (this.migration === undefined) return undefined;
    return {
      migration: this.migration,
      invalid: undefined,
      source: this.source,
      sourceAgent: viewOf(this.sourceAgent),
      sourceNodeIsReady: true,
      replicaSet: given.replicaSet(),
      isOfDeployment: true,
      target: this.target,
      targetAgent: this.target === undefined || this.targetAgent === undefined ? undefined : viewOf(this.targetAgent),
      targetNodeIsReady: this.targetNodeIsReady,
      namedNode: undefined,
      claims: new Map(),
      otherMigration: undefined,
      secret: given.secret,
      hubSinceMs: given.startMs,
    };
  }

  private reconcile(isWritten: boolean): void {
    const world = this.world();
    if (world === undefined) return;
    const next = plan(world, this.nowMs);
    if (
      isFinished(world.migration.status) &&
      next.actions.some(({ kind }) => kind !== 'RemoveFinalizer' && kind !== 'RecordCheckpoint')
    ) {
      this.broken.push('a finished Migration plans');
    }
    for (const action of next.actions) this.act(action, world.migration);
    if (isWritten) this.store(next.status);
  }

  private store(status: MigrationStatus): void {
    if (this.migration === undefined) return;
    this.version += 1;
    this.migration = {
      ...this.migration,
      status,
      metadata: { ...this.migration.metadata, resourceVersion: String(this.version) },
    };
    if (isCommitted(status)) this.wasCommitted = true;
    if (isCommitted(status) && status.failure !== undefined && !isFinished(status) && this.target !== undefined) {
      if (!isTerminating(this.target) && this.target.status?.phase === 'Running')
        this.broken.push('failing after the commit');
    }
  }

  private act(action: Action, migration: Migration): void {
    switch (action.kind) {
      case 'AddFinalizer':
        this.migration = { ...migration, metadata: { ...migration.metadata, finalizers: [finalizer] } };
        break;
      case 'RemoveFinalizer':
        this.migration =
          migration.metadata.deletionTimestamp === undefined
            ? { ...migration, metadata: { ...migration.metadata, finalizers: [] } }
            : undefined;
        break;
      case 'DeleteMigration':
        this.migration = undefined;
        break;
      case 'CreateTargetPod':
        this.createTarget(action);
        break;
      case 'DeletePod':
        this.deletePod(action.pod.uid, action.graceSeconds);
        break;
      case 'PreferDeletion':
      case 'WakeKubelet':
      case 'RecordCheckpoint':
        break;
      case 'LabelTarget':
        if (this.target?.metadata.uid === action.pod.uid) {
          const all = { ...this.target.metadata.labels, [podTemplateHash]: action.podTemplateHash };
          this.target = { ...this.target, metadata: { ...this.target.metadata, labels: all } };
        }
        break;
      case 'SendOrder':
        this.send(action.podUid, action.order, migration.status);
        break;
      default:
        assertNever(action);
    }
  }

  private createTarget({ pod }: Extract<Action, { kind: 'CreateTargetPod' }>): void {
    if (this.target !== undefined) return;
    this.nextTarget += 1;
    const made = given.target({ metadata: { name: pod.metadata.name, uid: `${given.targetUid}-${this.nextTarget}` } });
    this.target = { ...made, status: given.statusOf(false, false) };
    this.targetAgent = undefined;
  }

  private deletePod(uid: string, graceSeconds: number | undefined): void {
    const end = (pod: Pod): Pod | undefined =>
      graceSeconds === 0 ? undefined : terminating(pod, this.nowMs, graceSeconds ?? 30);
    if (this.target?.metadata.uid === uid) this.target = end(this.target);
    if (this.source?.metadata.uid === uid) this.source = end(this.source);
  }

  private send(podUid: string, order: Order, stored: MigrationStatus): void {
    const [{ kind }, committed] = [order, isCommitted(stored)];
    if (kind === OrderKind.ORDER_KIND_CONTINUE && !committed) this.broken.push('CONTINUE before the commit is stored');
    if (kind === OrderKind.ORDER_KIND_RETIRE && !committed) this.broken.push('RETIRE before the commit is stored');
    if (kind === OrderKind.ORDER_KIND_RESUME && committed) this.broken.push('RESUME after the commit');
    if (kind === OrderKind.ORDER_KIND_RESUME && stored.failure === undefined) this.broken.push('RESUME undecided');
    const isStop = kind === OrderKind.ORDER_KIND_CHECKPOINT;
    if (isStop && !isTrue(stored, 'PreCopied')) this.broken.push('CHECKPOINT before the copy ahead is stored');
    if (kind === OrderKind.ORDER_KIND_PRECOPY && this.wasStopped) this.broken.push('PRECOPY after CHECKPOINT');
    if (isStop) this.wasStopped = true;
    const agent = podUid === this.source?.metadata.uid ? this.sourceAgent : this.targetAgent;
    if (agent?.isConnected === true) agent.inbox.push(order);
  }

  /** One step of an agent: takes an order, or ends the one it works on. */
  private work(agent: SimulatedAgent): void {
    const { state } = agent;
    if (state.draining && agent.inbox.length === 0) {
      this.report(agent, { ...state, draining: false });
      return;
    }
    if (state.status === OrderStatus.ORDER_STATUS_WORKING) {
      this.endOrder(agent);
      return;
    }
    const order = agent.inbox.shift();
    if (order === undefined) return;
    const isRepeated = state.migrationUid === order.migrationUid && state.order === order.kind;
    const isAgain = order.kind === OrderKind.ORDER_KIND_RESTORE && state.phase === AppPhase.APP_PHASE_WAITING;
    if (isRepeated && !isAgain) return;
    if (order.kind === OrderKind.ORDER_KIND_CONTINUE && state.phase === AppPhase.APP_PHASE_WAITING) return;
    const taken = {
      ...state,
      migrationUid: order.migrationUid,
      attempt: order.attempt,
      order: order.kind,
      status: OrderStatus.ORDER_STATUS_WORKING,
      failure: undefined,
    };
    this.report(
      agent,
      order.kind === OrderKind.ORDER_KIND_CHECKPOINT ? { ...taken, phase: AppPhase.APP_PHASE_FROZEN } : taken,
    );
  }

  private endOrder(agent: SimulatedAgent): void {
    const { order } = agent.state;
    const isFailing = this.failing.delete(order);
    const phase = isFailing ? phaseAfterFailure[order] : phaseAfter[order];
    this.report(agent, {
      ...agent.state,
      phase: phase ?? agent.state.phase,
      status: isFailing ? OrderStatus.ORDER_STATUS_FAILED : OrderStatus.ORDER_STATUS_DONE,
      draining: (order === OrderKind.ORDER_KIND_RESTORE && !isFailing) || agent.state.draining,
      failure: isFailing ? { code: 'CRIU_DUMP_FAILED', message: 'simulated' } : undefined,
      checkpoint: order === OrderKind.ORDER_KIND_CHECKPOINT && !isFailing ? given.checkpointRef : undefined,
    });
  }

  private report(agent: SimulatedAgent, state: AgentState): void {
    if (agent.state.phase !== state.phase) agent.phaseSinceMs = this.nowMs;
    agent.state = state;
  }

  private disconnect(agent: SimulatedAgent): void {
    if (!agent.isConnected) return;
    agent.isConnected = false;
    agent.sinceMs = this.nowMs;
    agent.inbox.length = 0;
  }

  private connect(agent: SimulatedAgent | undefined): void {
    if (agent === undefined || agent.isConnected) return;
    agent.isConnected = true;
    agent.sinceMs = this.nowMs;
    agent.phaseSinceMs = this.nowMs;
  }

  private kubelets(): void {
    // pods of a node that does not answer are evicted by its controller, and stay like that
    if (this.target !== undefined && !this.targetNodeIsReady && !isTerminating(this.target)) {
      this.target = terminating(this.target, this.nowMs, 30);
    }
    if (this.target !== undefined && this.targetNodeIsReady) {
      if (isTerminating(this.target)) this.target = undefined;
      else if (this.target.status?.phase !== 'Failed') this.runTarget(this.target);
    }
    if (this.source !== undefined) {
      // the kubelet ends a pod after its grace period whatever its process does
      if (isTerminating(this.source)) this.source = undefined;
      else if (this.wasCommitted) this.source = { ...this.source, status: given.statusOf(false) };
    }
  }

  private runTarget(target: Pod): void {
    this.targetAgent ??= newAgent(AppPhase.APP_PHASE_WAITING, this.nowMs);
    const isServing = this.wasCommitted && this.targetAgent.state.phase === AppPhase.APP_PHASE_RUNNING;
    this.target = { ...target, status: given.statusOf(isServing) };
  }

  private replicaSetWorks(): void {
    const target = this.target;
    if (target?.metadata.labels?.[podTemplateHash] === undefined || isTerminating(target)) return;
    if (target.metadata.ownerReferences === undefined) {
      const ownerReferences = given.pod().metadata.ownerReferences ?? [];
      this.target = { ...target, metadata: { ...target.metadata, ownerReferences } };
      if (this.source !== undefined && !isTerminating(this.source)) {
        if (isReady(this.source)) this.broken.push('the ReplicaSet may remove the wrong pod');
        this.source = terminating(this.source, this.nowMs, 30);
      }
    }
  }

  private deleteMigration(): void {
    if (this.migration === undefined) return;
    if (!hasFinalizer(this.migration)) this.migration = undefined;
    else {
      const deletionTimestamp = new Date(this.nowMs).toISOString();
      this.migration = { ...this.migration, metadata: { ...this.migration.metadata, deletionTimestamp } };
    }
  }

  private check(): void {
    if (this.isRunning(this.sourceAgent, this.source) && this.isRunning(this.targetAgent, this.target)) {
      this.broken.push('two copies run');
    }
  }
}

const settling: readonly Happening[] = [
  'agents reconnect',
  'reconcile',
  'source agent works',
  'target agent works',
  'kubelets work',
  'replica set works',
  'time passes',
];

const phaseAfter: Partial<Record<OrderKind, AppPhase>> = {
  [OrderKind.ORDER_KIND_CHECKPOINT]: AppPhase.APP_PHASE_FROZEN,
  [OrderKind.ORDER_KIND_RESUME]: AppPhase.APP_PHASE_RUNNING,
  [OrderKind.ORDER_KIND_RETIRE]: AppPhase.APP_PHASE_MOVED,
  [OrderKind.ORDER_KIND_RESTORE]: AppPhase.APP_PHASE_RESTORED,
  [OrderKind.ORDER_KIND_CONTINUE]: AppPhase.APP_PHASE_RUNNING,
};

const phaseAfterFailure: Partial<Record<OrderKind, AppPhase>> = {
  [OrderKind.ORDER_KIND_CHECKPOINT]: AppPhase.APP_PHASE_RUNNING,
  [OrderKind.ORDER_KIND_RESTORE]: AppPhase.APP_PHASE_WAITING,
};

function newAgent(phase: AppPhase, nowMs = given.startMs): SimulatedAgent {
  return { isConnected: true, sinceMs: nowMs, phaseSinceMs: nowMs, state: given.agentState({ phase }), inbox: [] };
}

function viewOf(agent: SimulatedAgent): AgentView {
  const { isConnected, state, sinceMs, phaseSinceMs } = agent;
  return { isConnected, hello: given.hello, state, sinceMs, phaseSinceMs };
}

function terminating(pod: Pod, nowMs: number, graceSeconds: number): Pod {
  const deletionTimestamp = new Date(nowMs + graceSeconds * 1_000).toISOString();
  return { ...pod, metadata: { ...pod.metadata, deletionTimestamp, deletionGracePeriodSeconds: graceSeconds } };
}

function hasFinalizer(migration: Migration): boolean {
  return migration.metadata.finalizers?.includes(finalizer) ?? false;
}
