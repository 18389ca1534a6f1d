import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type { Config } from '../../../agent/config.ts';
import { noLinks, type DirectLinks } from '../../../agent/direct/links.ts';
import { createFerry, type Ferry } from '../../../agent/ferry.ts';
import { journalFile, type Journal } from '../../../agent/journal.ts';
import { readProcess } from '../../../agent/launch/proc-stat.ts';
import type { Placeholder } from '../../../agent/launch/placeholder.ts';
import { AppPhase, OrderKind, OrderStatus, type AgentState, type Order } from '../../../proto/gen/agent/v1/agent.ts';
import { silentLog } from '../../fakes/silent-log.ts';
import { eventually } from '../../fakes/until.ts';

const { ORDER_KIND_CHECKPOINT, ORDER_KIND_CONTINUE, ORDER_KIND_PREFLIGHT, ORDER_KIND_RESUME } = OrderKind;
const { ORDER_STATUS_DONE, ORDER_STATUS_FAILED, ORDER_STATUS_WORKING } = OrderStatus;
const migrationUid = 'move-1';

const order = (kind: OrderKind, change: Partial<Order> = {}): Order => ({
  kind,
  migrationUid,
  attempt: 2,
  timeoutMs: 60_000,
  checkpoint: { id: 'g1', manifestKey: '', manifestSha256: '' },
  direct: undefined,
  options: undefined,
  ...change,
});

/** An agent whose container runs already, and the application in it: a `sleep` of this test. */
interface Bench {
  readonly ferry: Ferry;
  readonly reports: readonly AgentState[];
  /** Resolves to the first report that fits, made already or not. */
  readonly told: (what: string, fits: (state: AgentState) => boolean) => Promise<AgentState>;
}

describe('the ferry', () => {
  const undo: (() => unknown)[] = [];
  let dir: string;
  let placeholder: Placeholder;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podferry-ferry-'));
    placeholder = await sleeper();
  });
  afterEach(async () => {
    for (const one of undo.splice(0).toReversed()) await one();
    await rm(dir, { recursive: true });
  });

  async function sleeper(): Promise<Placeholder> {
    const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
    const ended = once(child, 'exit');
    await once(child, 'spawn');
    undo.push(async () => {
      child.kill('SIGKILL');
      await ended;
    });
    const { pid = 0 } = child;
    return { pid, startTime: readProcess(pid)?.startTime ?? '' };
  }

  const stateOf = (pid: number): string | undefined => readProcess(pid)?.state;
  const config = (): Config => ({
    operator: 'operator:1',
    ca: '',
    serverName: 'operator',
    original: { container: 'web', command: ['/bin/app'] } as Config['original'],
    restoreFor: undefined,
    dataDirs: [],
    leavesWith: undefined,
    podName: 'web-1',
    podNamespace: 'default',
    logLevel: 'info',
    criuPreload: undefined,
    tokenFile: '',
    workDir: dir,
  });

  async function start(journal: Partial<Journal>, links: DirectLinks = noLinks): Promise<Bench> {
    const app = await sleeper();
    await journalFile(dir).write({
      role: 'serving',
      placeholder,
      appPid: app.pid,
      stopped: [],
      draining: false,
      ...journal,
    });
    return restart(links);
  }

  /** What the kubelet does with an agent's container that ended: the journal stays. */
  async function restart(links: DirectLinks = noLinks): Promise<Bench> {
    const reports: AgentState[] = [];
    const ferry = await createFerry({
      config: config(),
      journal: journalFile(dir),
      facts: { criu: '4.2.1', kernel: 'k', machine: 'm', cpuFlags: [] },
      agentRoot: '',
      log: silentLog(),
      links,
      findPlaceholder: async () => placeholder,
      report: (state) => void reports.push(state),
    });
    const stopping = new AbortController();
    const watching = ferry.watch(stopping.signal);
    undo.push(async () => {
      stopping.abort();
      await watching;
    });
    const told: Bench['told'] = async (what, fits) => {
      await eventually(what, () => reports.some(fits));
      return reports.findLast(fits) as AgentState;
    };
    return { ferry, reports, told };
  }

  const ended = (kind: OrderKind) => (state: AgentState) =>
    state.order === kind && (state.status === ORDER_STATUS_DONE || state.status === ORDER_STATUS_FAILED);

  it('ends by itself when the application has ended for good, in a pod that is to complete', async () => {
    await journalFile(dir).write({ role: 'serving', placeholder, appPid: 1, stopped: [], draining: false });
    const found = [placeholder, undefined];
    const ferry = await createFerry({
      config: { ...config(), leavesWith: 'Never' },
      journal: journalFile(dir),
      facts: { criu: '4.2.1', kernel: 'k', machine: 'm', cpuFlags: [] },
      agentRoot: '',
      log: silentLog(),
      links: noLinks,
      findPlaceholder: async () => found.shift(),
      report: () => undefined,
    });
    await ferry.watch(new AbortController().signal);
    expect(found).to.deep.equal([]);
  });

  it('carries out an order once, and answers its repetition with the same state', async () => {
    const { ferry, reports, told } = await start({});
    ferry.order(order(ORDER_KIND_RESUME));
    const first = await told('the end of the order', ended(ORDER_KIND_RESUME));
    expect(first.status).to.equal(ORDER_STATUS_DONE);
    const before = reports.length;
    ferry.order(order(ORDER_KIND_RESUME));
    expect(reports.slice(before)).to.deep.equal([first]);
  });

  for (const [what, stale] of [
    ['of an older attempt', order(ORDER_KIND_CHECKPOINT, { attempt: 1 })],
    ['that does not fit what is true', order(ORDER_KIND_CONTINUE)],
  ] as const) {
    it(`refuses an order ${what}, and says what is true`, async () => {
      const { ferry, reports, told } = await start({});
      ferry.order(order(ORDER_KIND_PREFLIGHT));
      const first = await told('the end of the order', ended(ORDER_KIND_PREFLIGHT));
      const before = reports.length;
      ferry.order(stale);
      expect(reports.slice(before)).to.deep.equal([first]);
    });
  }

  it('gives up an order for RESUME, which continues what is stopped and is done after it', async () => {
    let connect: () => void = () => undefined;
    const connected = new Promise<void>((resolve) => (connect = resolve));
    const { ferry, reports, told } = await start({}, { ...noLinks, connect: () => connected });
    const { appPid } = ferry.state();
    process.kill(appPid, 'SIGSTOP');
    await eventually('the stop', () => stateOf(appPid) === 'T');

    const direct = { host: 'target', port: 1, secret: Buffer.alloc(32) };
    ferry.order(order(ORDER_KIND_CHECKPOINT, { direct }));
    await told('the beginning', ({ status, phase }) => {
      return status === ORDER_STATUS_WORKING && phase === AppPhase.APP_PHASE_FROZEN;
    });
    ferry.order(order(ORDER_KIND_RESUME));
    connect();
    const resumed = await told('the end of RESUME', ended(ORDER_KIND_RESUME));
    expect(resumed).to.include({ status: ORDER_STATUS_DONE, phase: AppPhase.APP_PHASE_RUNNING, appPid });
    const kinds = reports.filter(({ status }) => status !== ORDER_STATUS_WORKING).map(({ order: kind }) => kind);
    expect(kinds).to.deep.equal([ORDER_KIND_CHECKPOINT, ORDER_KIND_RESUME]);
  });

  it('continues the application when it was restarted in the middle of a checkpoint', async () => {
    const { pid: appPid } = await sleeper();
    process.kill(appPid, 'SIGSTOP');
    await eventually('the stop', () => stateOf(appPid) === 'T');
    const { ferry } = await start({
      role: 'frozen',
      appPid,
      order: { kind: ORDER_KIND_CHECKPOINT, migrationUid, attempt: 2, status: ORDER_STATUS_WORKING },
    });
    await eventually('the application', () => stateOf(appPid) !== 'T');
    expect(ferry.state()).to.deep.include({
      phase: AppPhase.APP_PHASE_RUNNING,
      status: ORDER_STATUS_FAILED,
      appPid,
    });
    expect(ferry.state().failure?.code).to.equal('AGENT_LOST');
  });

  it('leaves a stopped application stopped when it was restarted after the checkpoint, and continues it on RESUME', async () => {
    const app = await sleeper();
    process.kill(app.pid, 'SIGSTOP');
    await eventually('the stop', () => stateOf(app.pid) === 'T');
    const checkpoint = { id: 'g1', manifestKey: 'k', manifestSha256: '00' };
    const { ferry, told } = await start({
      role: 'frozen',
      appPid: app.pid,
      stopped: [app],
      checkpoint,
      order: { kind: ORDER_KIND_CHECKPOINT, migrationUid, attempt: 2, status: ORDER_STATUS_DONE },
    });
    expect(ferry.state()).to.deep.include({ phase: AppPhase.APP_PHASE_FROZEN, checkpoint });
    expect(stateOf(app.pid)).to.equal('T');
    ferry.order(order(ORDER_KIND_RESUME));
    const resumed = await told('the end of RESUME', ended(ORDER_KIND_RESUME));
    expect(resumed.phase).to.equal(AppPhase.APP_PHASE_RUNNING);
    expect(stateOf(app.pid)).to.equal('S');
  });

  it('knows the container of a target only when it is prepared: a restarted agent prepares it anew', async () => {
    let prepared: Journal | undefined;
    const journal = journalFile(dir);
    const ferry = await createFerry({
      config: { ...config(), restoreFor: migrationUid },
      journal: {
        read: () => journal.read(),
        write: async (next) => {
          // where a kill would leave it
          if (next.placeholder === undefined) prepared = next;
          await journal.write(next);
        },
      },
      facts: { criu: '4.2.1', kernel: 'k', machine: 'm', cpuFlags: [] },
      agentRoot: '/nowhere',
      log: silentLog(),
      links: noLinks,
      findPlaceholder: async () => placeholder,
      report: () => undefined,
    });
    const stopping = new AbortController();
    const watching = ferry.watch(stopping.signal);
    const known = async (): Promise<boolean> => (await journal.read())?.placeholder?.pid === placeholder.pid;
    for (let tries = 0; tries < 500 && !(await known()); tries += 1) await delay(10);
    stopping.abort();
    await watching;
    expect(prepared).to.include({ role: 'waiting' });
    // here nothing can be listed: that keeps it from being moved on, and not from being restored into
    expect(await known()).to.equal(true);
  });

  it('tells that the container does not run', async () => {
    const { ferry, told } = await start({});
    const none = await createFerry({
      config: config(),
      journal: { read: async () => ({ role: 'serving', stopped: [], draining: false }), write: async () => undefined },
      facts: { criu: '4.2.1', kernel: 'k', machine: 'm', cpuFlags: [] },
      agentRoot: '',
      log: silentLog(),
      links: noLinks,
      findPlaceholder: async () => undefined,
      report: () => undefined,
    });
    none.order(order(ORDER_KIND_PREFLIGHT));
    await eventually('the end of the order', () => none.state().status === ORDER_STATUS_FAILED);
    expect(none.state().failure?.code).to.equal('PLACEHOLDER_MISSING');
    ferry.order(order(ORDER_KIND_PREFLIGHT));
    await told('the end of the order', ended(ORDER_KIND_PREFLIGHT));
  });
});
