import { OrderKind, OrderStatus, type Lazy } from '../../proto/gen/agent/v1/agent.ts';
import type { DrainStatus } from '../../proto/migration.ts';
import { done, fail, wait, type StepResult } from './step.ts';
import { wordOn, type World } from './world.ts';

/** Every page has come. The process has long been running; but until now its memory was not whole in the target. */
export function drained(world: World): StepResult {
  const { target, targetAgent } = world;
  if (target === undefined) return fail('TARGET_LOST', 'the target pod ended before all its memory had come');
  const state = targetAgent?.state;
  if (targetAgent?.isConnected !== true || state === undefined) {
    return wait('TARGET_LOST', 'AgentNotConnected', `the agent of pod ${target.metadata.name} is not connected`);
  }
  if (state.draining) return wait('DRAINING', 'Draining', 'the process runs; the rest of its memory follows');
  const word = wordOn(world, targetAgent, OrderKind.ORDER_KIND_CONTINUE);
  const lazy = word?.status === OrderStatus.ORDER_STATUS_DONE ? word.transfer?.lazy : undefined;
  return done('Whole', 'all memory of the process is in the target', {
    ...(lazy === undefined ? {} : { patch: { drain: drainStatus(lazy) } }),
  });
}

function drainStatus(lazy: Lazy): DrainStatus {
  const requests = Number(lazy.aheadHits + lazy.aheadMisses);
  return {
    ms: lazy.drainMs,
    faults: Number(lazy.faults),
    stallP50Us: lazy.stallP50Us,
    stallP95Us: lazy.stallP95Us,
    stallP99Us: lazy.stallP99Us,
    stallMaxUs: lazy.stallMaxUs,
    directFaults: Number(lazy.directFaults),
    hotPages: Number(lazy.hotPages),
    ...(requests === 0 ? {} : { hitPercent: Math.floor((Number(lazy.aheadHits) / requests) * 100) }),
  };
}
