import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type { PageRange } from '../../../../agent/memory/address-space.ts';
import { readAddressSpace } from '../../../../agent/memory/session.ts';
import { Tracker } from '../../../../agent/profiler/tracker.ts';
import { Programs, Target, whyNot } from './target.ts';

/** Stops that a wait must survive, and how long it is watched afterwards. */
const stops = 5;
const watchMs = 100;

describe('tracking what a process writes', function () {
  this.timeout(30_000);
  let programs: Programs | undefined;
  let tracker: Tracker;
  let target: Target;
  let page: number;

  before(async function () {
    const reason = whyNot();
    if (reason === undefined) {
      programs = new Programs();
      const probed = new Tracker(programs.placeholder);
      const failure = await probed.probe().catch((error: unknown) => error);
      await probed.close();
      if (failure === undefined) return;
      console.log('      skipped:', failure);
    } else console.log(`      skipped: ${reason}`);
    this.skip();
  });
  after(() => programs?.remove());
  beforeEach(() => {
    tracker = new Tracker(programs?.placeholder ?? '');
  });
  afterEach(async () => {
    await tracker.close();
    await target.kill();
  });

  async function start(...argv: string[]): Promise<void> {
    ({ target, page } = await Target.start(programs?.target ?? '', ...argv));
  }

  const lazy = (pid = target.pid): readonly PageRange[] => readAddressSpace(pid)?.lazy ?? [];
  const look = (isLive = true) => tracker.look(target.pid, lazy(), isLive);
  const has = (ranges: readonly PageRange[], wanted: number): boolean =>
    ranges.some(({ from, to }) => wanted >= from && wanted < to);
  const count = (ranges: readonly PageRange[]): number => ranges.reduce((sum, { from, to }) => sum + to - from, 0);
  const descriptors = (pid = target.pid): string[] =>
    readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  const status = (): string => readFileSync(`/proc/${target.pid}/status`, 'latin1');
  const isRegistered = (pid = target.pid): boolean => / uw( |$)/m.test(readFileSync(`/proc/${pid}/smaps`, 'latin1'));

  async function armed(...argv: string[]): Promise<void> {
    await start(...argv);
    await tracker.attach(target.pid);
    const { written, there, failed } = await look();
    expect(count(written)).to.be.greaterThan(63);
    expect(has(there, page)).to.equal(true);
    expect(failed).to.deep.equal([]);
  }

  it('finds the pages that were written since the last live look, and few others', async () => {
    await armed('idle', '4096');
    await target.tell('w 7');
    await target.tell('w 3000');
    for (const isLive of [false, false, true]) {
      const { written, failed } = await look(isLive);
      for (const each of [7, 3000]) expect(has(written, page + each)).to.equal(true);
      expect(count(written)).to.be.lessThan(40);
      expect(failed).to.deep.equal([]);
    }
    expect(has((await look()).written, page + 7)).to.equal(false);
    await target.tell('w 7');
    expect(has((await look()).written, page + 7)).to.equal(true);
  });

  it('names each of thousands of scattered pages once', async () => {
    await armed('idle', '100000');
    for (let each = 0; each < 100_000; each += 10) target.write(`w ${each}`);
    for (let each = 0; each < 100_000; each += 10) expect(await target.next('done')).to.equal(each);
    for (const isLive of [false, true]) {
      const { written } = await look(isLive);
      const ours = written.filter(({ from }) => from >= page && from < page + 100_000);
      expect(ours.map(({ from }) => from)).to.include.members([page, page + 50_000, page + 99_990]);
      expect(ours).to.have.length(10_000);
      expect(written.every(({ from }, i) => from >= (written[i - 1]?.to ?? 0))).to.equal(true);
    }
  });

  it('leaves nothing behind: no descriptor, no tracer, no mark', async () => {
    await start('idle');
    const [fds, before] = [descriptors(), status()];
    await tracker.attach(target.pid);
    await look();
    expect(descriptors()).to.deep.equal(fds);
    expect(/TracerPid:\s*(\d+)/.exec(status())?.[1]).to.equal('0');
    const mask = /SigBlk:.*/;
    expect(mask.exec(status())?.[0]).to.equal(mask.exec(before)?.[0]);
    expect(isRegistered()).to.equal(true);
    await tracker.drop(target.pid);
    expect(isRegistered()).to.equal(false);
  });

  it('finds pages that were dropped, unmapped and mapped anew', async () => {
    await armed('idle', '64');
    await target.tell('d 5');
    await target.tell('u 8');
    await target.tell('p 11');
    const frozen = await look(false);
    // Mapped since, so it is not tracked yet.
    expect(has(frozen.failed, page + 8) || has(frozen.written, page + 8)).to.equal(true);
    const live = await look();
    expect(live.failed).to.deep.equal([]);
    expect(has(live.written, page + 8)).to.equal(true);
    expect([5, 8, 11].map((each) => has(live.there, page + each))).to.deep.equal([false, true, false]);
    await target.tell('w 5');
    expect(has((await look()).written, page + 5)).to.equal(true);
  });

  it('finds all of what was moved', async () => {
    await armed('idle', '64');
    await look();
    page = await target.tell('m');
    const moved = await look();
    expect(count(moved.written.filter(({ from, to }) => to > page && from < page + 64))).to.equal(64);
  });

  it('knows nothing of a child until it is attached to it', async () => {
    await armed('idle', '64');
    const child = await target.fork();
    const failure = await tracker.look(child, lazy(child), true).catch((error: unknown) => error);
    expect(String(failure)).to.contain('the notes cannot be read');
    expect(isRegistered(child)).to.equal(false);
    expect(descriptors(child)).to.deep.equal(descriptors());
    await tracker.attach(child);
    expect(count((await tracker.look(child, lazy(child), true)).written)).to.be.greaterThan(63);
    await tracker.look(child, lazy(child), true);
    await target.tell('w 20');
    expect(has((await look()).written, page + 20)).to.equal(true);
    expect(has((await tracker.look(child, lazy(child), true)).written, page + 20)).to.equal(false);
  });

  it('leaves no descriptor in children that are forked at that moment', async () => {
    await start('forking');
    for (let times = 0; times < 100; times += 1) {
      await tracker.attach(target.pid);
      await look();
    }
    for (let times = 0; times < 2; times += 1) await look();
    const list = readFileSync(`/proc/${target.pid}/task/${target.pid}/children`, 'latin1').trim();
    const children = list.split(' ').map(Number);
    expect(children.length).to.be.greaterThan(10);
    const theirs = children.filter((pid) => existsSync(`/proc/${pid}/exe`)).flatMap((pid) => descriptors(pid));
    expect(theirs.filter((link) => link.includes('userfaultfd'))).to.deep.equal([]);
  });

  it('knows nothing any more of a process that executes another program', async () => {
    await armed('idle', '64');
    target.write('x');
    page = await target.next('up');
    for (const isLive of [false, true]) {
      const ranges = lazy();
      const { written, failed } = await tracker.look(target.pid, ranges, isLive);
      expect(written).to.deep.equal([]);
      expect(count(failed)).to.equal(count(ranges));
    }
  });

  it('can do it to a process whose filter kills at userfaultfd', async () => {
    await armed('filtered', '64');
    await target.tell('w 3');
    expect(has((await look()).written, page + 3)).to.equal(true);
    expect(/Seccomp:\s*(\d)/.exec(status())?.[1]).to.equal('2');
  });

  for (const call of [
    ...['nanosleep', 'futex', 'futex-forever', 'read', 'poll', 'ppoll'],
    ...['epoll_wait', 'epoll_pwait', 'sigtimedwait', 'pause'],
  ]) {
    for (const mode of ['wait', 'wait-in-thread']) {
      it(`does not disturb a ${mode === 'wait' ? 'process' : 'thread'} in ${call}`, async () => {
        await start(mode, call);
        const state = (): string =>
          readdirSync(`/proc/${target.pid}/task`)
            .map((thread) => readFileSync(`/proc/${target.pid}/task/${thread}/syscall`, 'latin1').split(' ')[0])
            .join();
        while (state().includes('running')) await delay(1);
        const before = state();
        for (let stop = 0; stop < stops; stop += 1) await tracker.attach(target.pid);
        const ended = target.next('ended').catch(() => undefined);
        expect(await Promise.race([ended, delay(watchMs, 'still waits')])).to.equal('still waits');
        // restart_syscall stands for what it restarts.
        expect(state()).to.be.oneOf([before, '219']);
      });
    }
  }

  it('does not swallow a signal that interrupts a wait', async () => {
    await start('wait', 'epoll_wait');
    await tracker.attach(target.pid);
    process.kill(target.pid, 'SIGTERM');
    await target.ended;
  });

  it('leaves a stopped process alone, and says so', async () => {
    await start('idle');
    process.kill(target.pid, 'SIGSTOP');
    while (!status().includes('State:\tT')) await delay(1);
    const failure = await tracker.attach(target.pid).catch((error: unknown) => error);
    expect(String(failure)).to.contain('no thread of the process can be borrowed');
    expect(status()).to.contain('State:\tT');
  });

  it('leaves a process alone that somebody traces, and says so', async () => {
    await start('idle');
    const { target: tracer } = await Target.start(programs?.target ?? '', 'trace', String(target.pid));
    const failure = await tracker.attach(target.pid).catch((error: unknown) => error);
    await tracer.kill();
    expect(String(failure)).to.contain('the process cannot be traced');
    await tracker.attach(target.pid);
  });

  it('survives the end of a process, and forgets it', async () => {
    await armed('idle', '64');
    await target.kill();
    const failure = await tracker
      .look(target.pid, [{ from: page, to: page + 64 }], true)
      .catch((error: unknown) => error);
    expect(String(failure)).to.contain('the notes cannot be read');
    await tracker.probe();
  });

  it('fails for good when its process is killed, and everything is undone', async () => {
    await armed('idle', '64');
    process.kill(tracker.pid ?? 0, 'SIGKILL');
    const failure = await look().catch((error: unknown) => error);
    expect(failure).to.be.instanceOf(Error);
    while (existsSync(`/proc/${tracker.pid}`)) await delay(1);
    expect(isRegistered()).to.equal(false);
    await target.tell('w 3');
    expect(await look().catch((error: unknown) => error)).to.be.instanceOf(Error);
  });

  it('fails when it cannot be started', async () => {
    await start('idle');
    const other = new Tracker('/nonexistent');
    expect(String(await other.probe().catch((error: unknown) => error))).to.contain('ENOENT');
    await other.close();
  });
});
