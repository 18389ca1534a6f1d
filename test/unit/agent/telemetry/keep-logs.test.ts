import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';
import { readProcess, type ProcessId } from '../../../../agent/launch/proc-stat.ts';
import { readLogs, type LogFile } from '../../../../agent/store/logs.ts';
import { keepLogs } from '../../../../agent/telemetry/keep-logs.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { silentLog } from '../../../fakes/silent-log.ts';
import { MemoryStore } from '../../../fakes/store.ts';
import { eventually } from '../../../fakes/until.ts';

const sealing = sealingFor('i-1');
const place = { keyPrefix: 'p/i-1/', checkpoint: 'c-1' };
const dumpLog: LogFile = { name: 'dump.log', content: Buffer.from('x') };
const { signal } = new AbortController();

describe('agent/telemetry/keep-logs', () => {
  let child: ChildProcess;
  let root: ProcessId;

  beforeEach(async () => {
    child = spawn('sleep', ['1000'], { stdio: 'ignore' });
    await once(child, 'spawn');
    const pid = child.pid ?? 0;
    child.kill('SIGSTOP');
    await eventually('its stop', () => readProcess(pid)?.state === 'T');
    root = { pid, startTime: readProcess(pid)?.startTime ?? '' };
  });
  afterEach(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });

  const keep = (store: MemoryStore, more: Partial<Parameters<typeof keepLogs>[0]> = {}): Promise<void> =>
    keepLogs({ store, ...place, sealing, root, logs: () => [dumpLog], log: silentLog(), ...more });

  it('stores nothing before the application runs', async () => {
    const store = new MemoryStore();
    let asked = 0;
    const kept = keep(store, {
      logs: () => {
        asked += 1;
        return [dumpLog];
      },
    });
    await new Promise(setImmediate);
    expect([asked, store.objects.size]).to.deep.equal([0, 0]);
    child.kill('SIGCONT');
    await kept;
    expect(await readLogs(store, place, sealing, signal)).to.deep.equal([dumpLog]);
  });

  it('stores them when the application has ended', async () => {
    const store = new MemoryStore();
    const kept = keep(store);
    child.kill('SIGKILL');
    await kept;
    expect(store.objects.size).to.equal(1);
  });

  it('stores them at once where there is none', async () => {
    const store = new MemoryStore();
    await keep(store, { root: undefined });
    expect(store.objects.size).to.equal(1);
  });

  it('never fails, whatever the store or the logs do', async () => {
    const store = new MemoryStore();
    store.refusesPutsFrom = 0;
    await keep(store, { root: undefined });
    await keep(store, { root: undefined, logs: () => Promise.reject(new Error('none')) });
    expect(store.objects.size).to.equal(0);
  });
});
