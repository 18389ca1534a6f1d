import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { journalFile, type Journal } from '../../../agent/journal.ts';
import { OrderKind, OrderStatus } from '../../../proto/gen/agent/v1/agent.ts';

describe('agent/journal', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'podferry-journal-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('is not there in a new pod', async () => {
    expect(await journalFile(folder).read()).to.equal(undefined);
  });

  it('gives back what was written, the last of it', async () => {
    const frozen: Journal = {
      role: 'frozen',
      placeholder: { pid: 7, startTime: '1234' },
      appPid: 10_000,
      stopped: [{ pid: 10_000, startTime: '1300' }],
      draining: false,
      order: {
        kind: OrderKind.ORDER_KIND_CHECKPOINT,
        migrationUid: 'm',
        attempt: 1,
        status: OrderStatus.ORDER_STATUS_DONE,
      },
      checkpoint: { id: 'c', manifestKey: 'k', manifestSha256: 's' },
    };
    await journalFile(folder).write({ role: 'serving', stopped: [], draining: false });
    await journalFile(folder).write(frozen);
    expect(await journalFile(folder).read()).to.deep.equal(frozen);
  });

  it('written by several at a time: each write succeeds, and the one called last stays', async () => {
    const file = journalFile(folder);
    const of = (appPid: number): Journal => ({ role: 'serving', appPid, stopped: [], draining: false });
    await Promise.all(Array.from({ length: 20 }, (_, i) => file.write(of(i))));
    expect(await file.read()).to.deep.equal(of(19));
  });

  it('says what it cannot read instead of forgetting that a tree is stopped', async () => {
    await writeFile(join(folder, 'journal.json'), '{"role":"fro');
    const error: unknown = await journalFile(folder)
      .read()
      .then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
    expect(error).to.have.property('code', 'INTERNAL');
    expect(error).to.have.property('message').that.includes('journal.json');
  });
});
