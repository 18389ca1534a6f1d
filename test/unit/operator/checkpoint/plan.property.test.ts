import { expect } from 'chai';
import { array, assert, constantFrom, property } from 'fast-check';
import type { CheckpointStatus } from '../../../../proto/checkpoint.ts';
import { AppPhase, OrderKind, OrderStatus, type AgentState, type Order } from '../../../../proto/gen/agent/v1/agent.ts';
import { plan } from '../../../../operator/checkpoint/plan.ts';
import { isOver, type World } from '../../../../operator/checkpoint/world.ts';
import { checkpoint, startMs, world } from '../../../fakes/checkpoint-worlds.ts';
import * as given from '../../../fakes/operator-objects.ts';

const happenings = [
  'look',
  'look',
  'look',
  'work',
  'work',
  'fail',
  'moveBegins',
  'moveEnds',
  'lose',
  'connect',
  'lostWrite',
  'wait',
] as const;
type Happening = (typeof happenings)[number];

/** One Checkpoint and an agent that obeys as a real one does; the operator looks whenever it likes, and its writes may be lost. */
class Simulation {
  status: CheckpointStatus = {};
  state: AgentState = given.agentState();
  isMoving = false;
  isConnected = true;
  nowMs = startMs;
  readonly broken: string[] = [];
  readonly ordered: OrderKind[] = [];

  world(): World {
    return world({
      checkpoint: checkpoint(this.status),
      agent: given.view(this.state, { isConnected: this.isConnected }),
      migration: this.isMoving ? 'move' : undefined,
    });
  }

  step(what: Happening): void {
    if (what === 'look' || what === 'lostWrite') this.look(what === 'look');
    else if (what === 'work') this.work(OrderStatus.ORDER_STATUS_DONE);
    else if (what === 'fail') this.work(OrderStatus.ORDER_STATUS_FAILED);
    else if (what === 'wait') this.nowMs += 60_000;
    else if (what === 'lose') this.isConnected = false;
    else if (what === 'connect') this.isConnected = true;
    else this.isMoving = what === 'moveBegins';
  }

  settle(): void {
    this.isConnected = true;
    for (let i = 0; i < 40; i += 1) for (const what of ['look', 'work', 'wait'] as const) this.step(what);
  }

  look(isWritten = true): void {
    const next = plan(this.world(), this.nowMs);
    if (isOver(this.status) && next.actions.some(({ kind }) => kind === 'SendOrder'))
      this.broken.push('orders when over');
    for (const action of next.actions) if (action.kind === 'SendOrder') this.take(action.order);
    if (isWritten) this.status = next.status;
  }

  /** As agent/orders/admit.ts decides. */
  private take(order: Order): void {
    const { kind, leaveRunning } = order;
    if (this.isMoving && kind !== OrderKind.ORDER_KIND_RESUME) this.broken.push('an order while the pod moves');
    if (kind === OrderKind.ORDER_KIND_CHECKPOINT && leaveRunning !== true)
      this.broken.push('nobody continues the process');
    if (this.status.startedAt === undefined) this.broken.push('an order before the beginning is stored');
    const hasStopped = this.ordered.includes(OrderKind.ORDER_KIND_CHECKPOINT);
    if (hasStopped && kind === OrderKind.ORDER_KIND_PRECOPY)
      this.broken.push('copied ahead after the stop was ordered');
    if (!this.isConnected || (this.state.order === kind && this.state.migrationUid === order.migrationUid)) return;
    const isWorking = this.state.status === OrderStatus.ORDER_STATUS_WORKING;
    if (isWorking && kind !== OrderKind.ORDER_KIND_RESUME) return;
    this.ordered.push(kind);
    const isCheckpoint = kind === OrderKind.ORDER_KIND_CHECKPOINT;
    this.state = given.agentState({
      migrationUid: order.migrationUid,
      attempt: order.attempt,
      order: kind,
      status: OrderStatus.ORDER_STATUS_WORKING,
      phase: isCheckpoint ? AppPhase.APP_PHASE_FROZEN : AppPhase.APP_PHASE_RUNNING,
      checkpoint: this.state.checkpoint,
    });
  }

  private work(status: OrderStatus): void {
    if (this.state.status !== OrderStatus.ORDER_STATUS_WORKING) return;
    const isTaken = this.state.order === OrderKind.ORDER_KIND_CHECKPOINT && status === OrderStatus.ORDER_STATUS_DONE;
    const id = 'g0-fedcba98';
    this.state = {
      ...this.state,
      status,
      phase: AppPhase.APP_PHASE_RUNNING,
      ...(isTaken && {
        checkpoint: { id, manifestKey: `p/checkpoints/${id}/manifest`, manifestSha256: 'a'.repeat(64) },
      }),
    };
  }
}

const story = array(constantFrom(...happenings), { maxLength: 60 });

describe('operator/checkpoint/plan: in any world', () => {
  it('takes one when nothing goes wrong', () => {
    const simulation = new Simulation();
    simulation.settle();
    expect(simulation.status.phase).to.equal('Completed');
    expect(simulation.ordered).to.deep.equal([
      OrderKind.ORDER_KIND_PREFLIGHT,
      OrderKind.ORDER_KIND_PRECOPY,
      OrderKind.ORDER_KIND_CHECKPOINT,
    ]);
  });

  it('keeps its promises, comes to an end, and tells complete what is', () => {
    assert(
      property(story, (happened) => {
        const simulation = new Simulation();
        for (const each of happened) simulation.step(each);
        simulation.settle();
        expect(simulation.broken).to.deep.equal([]);
        expect(isOver(simulation.status), 'over').to.equal(true);
        expect(simulation.state.phase).to.equal(AppPhase.APP_PHASE_RUNNING);
        if (simulation.status.phase === 'Completed') expect(simulation.state.checkpoint).to.not.equal(undefined);
        else expect(simulation.status.failure?.code).to.be.a('string');
      }),
      { numRuns: 2_000 },
    );
  });

  it('asks for the same when asked twice', () => {
    assert(
      property(story, (happened) => {
        const simulation = new Simulation();
        for (const each of happened) simulation.step(each);
        const seen = simulation.world();
        expect(plan(seen, simulation.nowMs)).to.deep.equal(plan(seen, simulation.nowMs));
      }),
      { numRuns: 200 },
    );
  });
});
