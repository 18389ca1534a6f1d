import {
  AppPhase,
  OrderKind,
  OrderStatus,
  type AgentState,
  type CheckpointRef,
} from '../../proto/gen/agent/v1/agent.ts';
import type { TakenCheckpoint } from '../../proto/migration.ts';
import { conditionStatus, hasEnded, isContainerRunning, isTerminating, type Pod } from '../kube/objects.ts';
import { codeOf, isTrue } from './conditions.ts';
import { failOf } from './findings.ts';
import { differences } from './machines.ts';
import { done, fail, wait, type StepResult } from './step.ts';
import { checkpointIdOf, howToMove, optionsOf } from './copy-ahead.ts';
import { targetPod } from './target-pod.ts';
import { chosenContainer, deadlineMs, sendOrder, wordOn, type World } from './world.ts';

/** The target pod is up on its node and its agent waits for the process; the source still runs. */
export function targetPrepared(world: World): StepResult {
  const { migration, source, target, targetAgent } = world;
  const container = source === undefined ? undefined : chosenContainer(source);
  if (source === undefined || container === undefined || world.replicaSet === undefined) {
    return wait('SOURCE_GONE', 'SourceUnknown', 'the source pod or its owner is not known');
  }
  if (target === undefined) {
    const pod = targetPod({
      source,
      container,
      migrationUid: migration.metadata.uid,
      migrationName: migration.metadata.name,
      instance: migration.status.instance ?? source.metadata.uid,
      generation: migration.status.generation ?? 1,
      targetNode: migration.spec.targetNode,
      replicaSetUid: world.replicaSet.metadata.uid,
      templateAffinity: world.replicaSet.spec.template?.spec?.affinity,
    });
    return wait('TARGET_NOT_READY', 'Creating', `creating pod ${pod.metadata.name}`, {
      actions: [{ kind: 'CreateTargetPod', pod }],
    });
  }
  if (hasEnded(target) || isTerminating(target)) {
    return fail('TARGET_LOST', `pod ${target.metadata.name} ended or is being deleted`);
  }
  const patch = {
    target: {
      pod: target.metadata.name,
      uid: target.metadata.uid,
      // absent rather than empty: server-side apply of 1.20 turns an empty string into null
      ...(target.spec.nodeName === undefined ? {} : { node: target.spec.nodeName }),
    },
  };
  const isWaiting = targetAgent?.isConnected === true && targetAgent.state?.phase === AppPhase.APP_PHASE_WAITING;
  if (!isWaiting || !isContainerRunning(target, container)) {
    return wait('TARGET_NOT_READY', 'Starting', `pod ${target.metadata.name}: ${whatItWaitsFor(target)}`, { patch });
  }
  const { sourceAgent } = world;
  if (sourceAgent !== undefined) {
    const obstacles = failOf(differences(sourceAgent.hello, targetAgent.hello));
    if (obstacles !== undefined) return obstacles;
  }
  // stored first, so that a roll back knows for certain whether the source may have been stopped
  return done('Waiting', `pod ${target.metadata.name} on node ${target.spec.nodeName ?? ''} waits for the process`, {
    patch,
    isBarrier: true,
  });
}

/** The process is stopped and its checkpoint is complete in the store. */
export function frozen(world: World, nowMs: number): StepResult {
  const { source, sourceAgent, migration } = world;
  if (source === undefined) return fail('SOURCE_GONE', 'the source pod is gone');
  const word = wordOn(world, sourceAgent, OrderKind.ORDER_KIND_CHECKPOINT);
  if (word?.status === OrderStatus.ORDER_STATUS_FAILED) {
    return fail(codeOf(word.failure?.code), word.failure?.message ?? 'the checkpoint failed');
  }
  if (word?.status === OrderStatus.ORDER_STATUS_DONE) {
    if (word.checkpoint === undefined || word.phase !== AppPhase.APP_PHASE_FROZEN) {
      return fail('INTERNAL', 'the agent of the source reported a checkpoint but no stopped process');
    }
    return done('Stopped', 'the process is stopped and its checkpoint is stored', {
      patch: { checkpoint: takenCheckpoint(word.checkpoint, word) },
      timings: word.transfer?.timeline ?? [],
    });
  }
  if (word?.status === OrderStatus.ORDER_STATUS_WORKING) {
    return wait('DEADLINE_EXCEEDED', 'Checkpointing', 'the process is being stopped and stored');
  }
  if (sourceAgent?.isConnected !== true) {
    return wait('AGENT_LOST', 'AgentNotConnected', `the agent of pod ${source.metadata.name} is not connected`);
  }
  const id = checkpointIdOf(migration.metadata.uid, migration.status);
  return wait('DEADLINE_EXCEEDED', 'Checkpointing', 'the process is being stopped and stored', {
    actions: [
      sendOrder(world, source.metadata.uid, OrderKind.ORDER_KIND_CHECKPOINT, {
        timeoutMs: deadlineMs(world, nowMs) - nowMs,
        checkpoint: { id, manifestKey: '', manifestSha256: '' },
        ...howToMove(world),
      }),
    ],
  });
}

/** The process is in the target, stopped; its memory may still be on the way. */
export function restoredStopped(world: World, nowMs: number): StepResult {
  const { target, targetAgent, migration } = world;
  const { checkpoint } = migration.status;
  if (target === undefined || checkpoint === undefined) return fail('TARGET_LOST', 'the target pod is gone');
  const word = wordOn(world, targetAgent, OrderKind.ORDER_KIND_RESTORE);
  if (word?.status === OrderStatus.ORDER_STATUS_FAILED) {
    return fail(codeOf(word.failure?.code), word.failure?.message ?? 'the restore failed');
  }
  if (word?.status === OrderStatus.ORDER_STATUS_DONE) {
    if (word.phase !== AppPhase.APP_PHASE_RESTORED) {
      return fail('TARGET_LOST', 'the agent of the target reported a restore but no stopped process');
    }
    return done('Restored', 'the process is in the target, stopped', {
      timings: word.transfer?.timeline ?? [],
    });
  }
  if (word?.status === OrderStatus.ORDER_STATUS_WORKING) {
    return wait('DEADLINE_EXCEEDED', 'Restoring', 'the process is being restored');
  }
  const { id, manifestKey, manifestSha256 } = checkpoint;
  return wait('DEADLINE_EXCEEDED', 'Restoring', 'the process is being restored', {
    actions: [
      sendOrder(world, target.metadata.uid, OrderKind.ORDER_KIND_RESTORE, {
        timeoutMs: deadlineMs(world, nowMs) - nowMs,
        checkpoint: { id, manifestKey, manifestSha256 },
        options: optionsOf(world),
      }),
    ],
  });
}

/**
 * The decision: from here on the target is the process. Both copies are stopped when it is made, and nothing is
 * continued before it is stored.
 */
export function committed(world: World, nowMs: number): StepResult {
  const { source, sourceAgent, targetAgent } = world;
  const restored = wordOn(world, targetAgent, OrderKind.ORDER_KIND_RESTORE);
  if (restored === undefined && targetAgent?.state === undefined) {
    return wait('TARGET_LOST', 'TargetUnknown', 'the agent of the target is not connected');
  }
  if (restored?.phase !== AppPhase.APP_PHASE_RESTORED) return fail('TARGET_LOST', 'the restored process is gone');
  if (!world.targetNodeIsReady) return wait('TARGET_LOST', 'NodeNotReady', 'the node of the target is not ready');

  const decided = done('Decided', 'the target is the process now; the source will not be continued', {
    isBarrier: true,
  });
  if (sourceAgent?.isConnected === true && sourceAgent.state !== undefined) {
    const stopped = wordOn(world, sourceAgent, OrderKind.ORDER_KIND_CHECKPOINT);
    const isStopped = stopped?.phase === AppPhase.APP_PHASE_FROZEN;
    return isStopped ? decided : fail('AGENT_LOST', 'the process of the source is not stopped any more');
  }
  // Only our order continues the source, and none was given: its agent need not be there. But give it time to say otherwise.
  if (nowMs >= deadlineMs(world, nowMs)) return decided;
  return wait('AGENT_LOST', 'AgentNotConnected', `the agent of pod ${source?.metadata.name ?? ''} is not connected`, {
    wakeAfterMs: deadlineMs(world, nowMs) - nowMs,
  });
}

/** True once a CHECKPOINT may have been ordered. */
export function mayBeStopped(world: World): boolean {
  return isTrue(world.migration.status, 'TargetPrepared');
}

/** What the agent says of the checkpoint that it has taken. */
export function takenCheckpoint(ref: CheckpointRef, word: Pick<AgentState, 'transfer'>): TakenCheckpoint {
  const { totalBytes, parent } = word.transfer ?? {};
  return {
    ...ref,
    ...(totalBytes === undefined ? {} : { totalBytes: Number(totalBytes) }),
    ...(parent === undefined ? {} : { parent }),
    pageBytes: Number(word.transfer?.pageBytes ?? 0n),
    storedBytes: Number(word.transfer?.storedBytes ?? 0n),
    fileBytes: Number(word.transfer?.fileBytes ?? 0n),
    rounds: word.transfer?.rounds ?? 0,
    directBytes: Number(word.transfer?.directBytes ?? 0n),
    freezeMs: word.transfer?.freezeMs ?? 0,
  };
}

function whatItWaitsFor(target: Pod): string {
  const scheduled = target.status?.conditions?.find((condition) => condition.type === 'PodScheduled');
  if (scheduled?.status === 'False') return scheduled.message ?? 'not scheduled';
  const waiting = target.status?.containerStatuses?.find(
    (status) => status.state?.waiting !== undefined && status.state.waiting !== null,
  )?.state?.waiting;
  if (waiting !== undefined) return [waiting.reason, waiting.message].filter((text) => text !== undefined).join(': ');
  return conditionStatus(target, 'Initialized') === 'True' ? 'its agent is not connected' : 'its containers start';
}
