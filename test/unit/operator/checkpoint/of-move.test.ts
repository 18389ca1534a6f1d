import { expect } from 'chai';
import type { MigrationStatus } from '../../../../proto/migration.ts';
import { finalizer } from '../../../../proto/names.ts';
import { checkpointOfMove } from '../../../../operator/checkpoint/of-move.ts';
import { plan } from '../../../../operator/migration/plan.ts';
import * as given from '../../../fakes/operator-objects.ts';
import { doneUpTo, world } from '../../../fakes/migration-worlds.ts';

const checkpoint = {
  ...given.checkpointRef,
  pageBytes: 8,
  storedBytes: 4,
  totalBytes: 6,
  parent: 'g0-x',
  fileBytes: 1,
  freezeMs: 30,
};

function ended(change: Partial<MigrationStatus> = {}): MigrationStatus {
  const workload = { kind: 'Deployment', name: 'web' };
  const status = doneUpTo('Drained', { checkpoint, workload, ...change });
  const last = status.conditions?.at(-1);
  return {
    ...status,
    conditions: [...(status.conditions ?? []), { ...last, type: 'Succeeded', status: 'False' } as never],
  };
}

describe('the Checkpoint of a move', () => {
  it('holds what the move has stored, under a name that follows from it', () => {
    const made = checkpointOfMove(given.migration({ status: ended() }));
    expect(made).to.deep.include({ name: `move-web-${given.migrationUid.slice(0, 8)}`, namespace: 'default' });
    expect(made?.spec).to.deep.equal({ podName: 'web-5d4f8-abcde', migrationName: 'move-web' });
    expect(made?.status).to.deep.include({
      phase: 'Completed',
      workload: { kind: 'Deployment', name: 'web' },
      generation: 0,
      id: 'g1-abcdef01',
      parent: 'g0-x',
      memoryBytes: 8,
      newBytes: 4,
      totalBytes: 6,
      stoppedMs: 30,
    });
  });

  it('there is none before everything is stored', () => {
    expect(checkpointOfMove(given.migration({ status: doneUpTo('PreCopied') }))).to.equal(undefined);
  });

  it('is made before the Migration may be gone, once', () => {
    const [finalizers, without] = [[finalizer], []].map((each) => {
      const status = ended();
      const base = world({ status });
      const next = {
        ...base,
        migration: { ...base.migration, metadata: { ...base.migration.metadata, finalizers: each } },
      };
      return plan(next, given.startMs + 60_000).actions.map(({ kind }) => kind);
    });
    expect(finalizers).to.deep.equal(['RecordCheckpoint', 'RemoveFinalizer']);
    expect(without).to.deep.equal([]);
  });
});
