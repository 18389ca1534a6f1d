import { OrderKind, OrderStatus, type Direct, type MoveOptions } from '../../proto/gen/agent/v1/agent.ts';
import type { MigrationStatus } from '../../proto/migration.ts';
import { codeOf, conditionOf, isTrue } from './conditions.ts';
import { moveOptionsOf } from './options.ts';
import { done, fail, wait, type StepResult } from './step.ts';
import { deadlineMs, sendOrder, wordOn, type World } from './world.ts';

/** A target that does not listen by then is not waited for: it reads everything from the store. */
const warmWithinMs = 5_000;

/** A move that an operator of before these steps has begun. */
const alreadyStopped = done('NotNeeded', 'the process was stopped without it');

/** The target listens for its source. Nothing but speed depends on it, so this step never fails. */
export function warmed(world: World, nowMs: number): StepResult {
  const { target, targetAgent, migration } = world;
  if (isTrue(migration.status, 'Frozen')) return alreadyStopped;
  if (target === undefined) return fail('TARGET_LOST', 'the target pod is gone');
  const isStorageOnly = migration.spec.strategy === 'lazy-storage';
  const word = wordOn(world, targetAgent, OrderKind.ORDER_KIND_WARM);
  if (word?.status === OrderStatus.ORDER_STATUS_DONE) {
    return word.directPort === 0
      ? done('NotListening', 'the target does not listen; memory takes the way through storage')
      : done('Listening', `pod ${target.metadata.name} listens for the source`);
  }
  if (word?.status === OrderStatus.ORDER_STATUS_FAILED) {
    const why = word.failure === undefined ? 'no reason given' : `${word.failure.code}: ${word.failure.message}`;
    return done('NotListening', `the target cannot listen, memory takes the way through storage: ${why}`);
  }
  const since = conditionOf(migration.status, 'Warmed')?.lastTransitionTime;
  const leftMs = since === undefined ? warmWithinMs : Date.parse(since) + warmWithinMs - nowMs;
  if (leftMs <= 0) return done('NotListening', `the target did not answer within ${warmWithinMs} ms`);
  return wait('TARGET_NOT_READY', 'Warming', 'the target gets ready for what the source sends', {
    actions: [
      sendOrder(world, target.metadata.uid, OrderKind.ORDER_KIND_WARM, {
        timeoutMs: leftMs,
        direct: isStorageOnly ? undefined : { host: '', port: 0, secret: world.secret },
        options: optionsOf(world),
      }),
    ],
    wakeAfterMs: leftMs,
  });
}

/** The memory of the running process is copied, but for what it has changed since. */
export function preCopied(world: World, nowMs: number): StepResult {
  const { source, sourceAgent, migration } = world;
  if (isTrue(migration.status, 'Frozen')) return alreadyStopped;
  if (source === undefined) return fail('SOURCE_GONE', 'the source pod is gone');
  const word = wordOn(world, sourceAgent, OrderKind.ORDER_KIND_PRECOPY);
  if (word?.status === OrderStatus.ORDER_STATUS_FAILED) {
    return fail(codeOf(word.failure?.code), word.failure?.message ?? 'copying ahead failed');
  }
  if (word?.status === OrderStatus.ORDER_STATUS_DONE) {
    const rounds = word.transfer?.rounds ?? 0;
    // stored first: an agent that has been told to stop the process must never be asked to copy ahead again
    return done('Copied', `the memory of the running process was gone through ${rounds} times`, {
      timings: word.transfer?.timeline ?? [],
      isBarrier: true,
    });
  }
  if (word?.status === OrderStatus.ORDER_STATUS_WORKING) {
    return wait('DEADLINE_EXCEEDED', 'Copying', 'the memory of the running process is being copied');
  }
  if (sourceAgent?.isConnected !== true) {
    return wait('AGENT_LOST', 'AgentNotConnected', `the agent of pod ${source.metadata.name} is not connected`);
  }
  return wait('DEADLINE_EXCEEDED', 'Copying', 'the memory of the running process is being copied', {
    actions: [
      sendOrder(world, source.metadata.uid, OrderKind.ORDER_KIND_PRECOPY, {
        timeoutMs: deadlineMs(world, nowMs) - nowMs,
        checkpoint: {
          id: checkpointIdOf(migration.metadata.uid, migration.status),
          manifestKey: '',
          manifestSha256: '',
        },
        ...howToMove(world),
      }),
    ],
  });
}

/** What PRECOPY and CHECKPOINT are told about the way to the target. */
export function howToMove(world: World): { readonly direct: Direct | undefined; readonly options: MoveOptions } {
  const host = world.target?.status?.podIP;
  const port = world.targetAgent?.state?.directPort ?? 0;
  const isDirect = host !== undefined && port !== 0;
  return { direct: isDirect ? { host, port, secret: world.secret } : undefined, options: optionsOf(world) };
}

export function optionsOf({ migration }: World): MoveOptions {
  return moveOptionsOf(migration.spec);
}

/** The checkpoint that this move takes. */
export function checkpointIdOf(migrationUid: string, { generation }: MigrationStatus): string {
  return `g${generation ?? 1}-${migrationUid.slice(0, 8)}`;
}
