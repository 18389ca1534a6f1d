import { expect } from 'chai';
import { PodferryError } from '../../../../proto/errors.ts';
import { annotations } from '../../../../proto/names.ts';
import type { KubeApi, Read } from '../../../../webhook/kube/api.ts';
import { createOwners, type Owners } from '../../../../webhook/owners/owners.ts';
import { silentLog } from '../../../fakes/silent-log.ts';
import { eventually } from '../../../fakes/until.ts';

const enabled = { [annotations.enabled]: 'true' };
const failure = (status: number) => new PodferryError('INTERNAL', `status ${status}`, { status });

type Line = { readonly type: string; readonly object: unknown } | PodferryError | 'end';

/** An API server of one kind of object: what is in it, and a watch that the test feeds. */
class Kind {
  items: object[] = [];
  lists = 0;
  denied = false;
  readonly watchedFrom: (string | undefined)[] = [];
  private readonly lines: Line[] = [];
  private wake: () => void = () => undefined;

  object(uid: string, version: string, more: object = {}): object {
    return { metadata: { uid, resourceVersion: version, ...more } };
  }

  send(...lines: readonly Line[]): void {
    this.lines.push(...lines);
    this.wake();
  }

  list(): unknown {
    if (this.denied) throw failure(403);
    this.lists += 1;
    return { metadata: { resourceVersion: `${100 * this.lists}` }, items: this.items };
  }

  async *watch(from: string | undefined, signal: AbortSignal): AsyncGenerator {
    this.watchedFrom.push(from);
    for (;;) {
      const line = this.lines.shift();
      if (line === 'end') return;
      if (line instanceof PodferryError) throw line;
      if (line === undefined) {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
        if (signal.aborted) throw new PodferryError('INTERNAL', 'aborted');
      } else yield line;
    }
  }
}

describe('webhook/owners', () => {
  const stopping: (() => Promise<void>)[] = [];
  let kinds: Record<'statefulsets' | 'jobs' | 'cronjobs', Kind>;
  let reads: Read[];
  beforeEach(() => {
    kinds = { statefulsets: new Kind(), jobs: new Kind(), cronjobs: new Kind() };
    reads = [];
  });
  afterEach(async () => {
    for (const stop of stopping.splice(0)) await stop();
  });

  const kindOf = (path: string): Kind => kinds[path.split('/').at(-1) as keyof typeof kinds];
  const api: KubeApi = {
    async get(read) {
      reads.push(read);
      if (read.path === '/apis/batch/v1/cronjobs') throw failure(404);
      return read.query?.['limit'] === '1' ? {} : kindOf(read.path).list();
    },
    lines(read) {
      reads.push(read);
      return kindOf(read.path).watch(read.query?.['resourceVersion'], read.signal);
    },
  };

  function start(times: { readonly idleMs?: number } = {}): Owners {
    const owners = createOwners({ api, log: silentLog(), pauseMs: 1, ...times });
    const stop = new AbortController();
    const running = owners.run(stop.signal);
    stopping.push(async () => {
      stop.abort();
      await running;
    });
    return owners;
  }
  const optsIn = (owners: Owners, uid: string) => owners.annotationsOf(uid)[annotations.enabled] === 'true';

  it('asks for metadata only, and for the version of CronJobs that the server has', async () => {
    const owners = start();
    await eventually('all are listed', () => owners.hasSynced());
    for (const { accept } of reads) expect(accept).to.match(/as=PartialObjectMetadata(List)?;g=meta\.k8s\.io;v=v1/);
    expect(reads.map(({ path }) => path)).to.include('/apis/batch/v1beta1/cronjobs');
  });

  it('knows what is listed, added, changed and deleted', async () => {
    const { statefulsets } = kinds;
    statefulsets.items = [statefulsets.object('a', '1', { annotations: enabled }), statefulsets.object('b', '2')];
    const owners = start();
    await eventually('the list is there', () => optsIn(owners, 'a'));
    expect(optsIn(owners, 'b')).to.equal(false);
    statefulsets.send(
      { type: 'MODIFIED', object: statefulsets.object('b', '101', { annotations: enabled }) },
      { type: 'ADDED', object: statefulsets.object('c', '102', { annotations: enabled }) },
      { type: 'MODIFIED', object: statefulsets.object('a', '103') },
      { type: 'DELETED', object: statefulsets.object('c', '104') },
    );
    await eventually('the last is gone', () => optsIn(owners, 'b') && !optsIn(owners, 'a') && !optsIn(owners, 'c'));
  });

  it("finds a Job's CronJob; the Job's own word counts more", async () => {
    const ownerReferences = [{ uid: 'cron', controller: true }];
    kinds.cronjobs.items = [
      kinds.cronjobs.object('cron', '1', { annotations: { ...enabled, [annotations.container]: 'x' } }),
    ];
    kinds.jobs.items = [
      kinds.jobs.object('run', '2', { ownerReferences }),
      kinds.jobs.object('own', '3', { ownerReferences, annotations: { [annotations.enabled]: 'false' } }),
    ];
    const owners = start();
    await eventually('all are listed', () => owners.hasSynced());
    expect(owners.annotationsOf('run')).to.deep.equal({ ...enabled, [annotations.container]: 'x' });
    expect(owners.annotationsOf('own')).to.deep.equal({ [annotations.enabled]: 'false', [annotations.container]: 'x' });
    expect(owners.annotationsOf('nobody')).to.deep.equal({});
  });

  it('goes on where a watch ended, and from the last bookmark', async () => {
    const { jobs } = kinds;
    start();
    await eventually('the watch is open', () => jobs.watchedFrom.length === 1);
    jobs.send({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '170' } } }, 'end');
    await eventually('it is open again', () => jobs.watchedFrom.length === 2);
    expect(jobs.watchedFrom).to.deep.equal(['100', '170']);
    expect(jobs.lists).to.equal(1);
  });

  for (const [name, gone] of [
    ['as an answer', failure(410)],
    ['as an event', { type: 'ERROR', object: { code: 410, message: 'too old' } }],
  ] as const) {
    it(`lists anew when the version is too old (410, ${name}), and forgets what is gone`, async () => {
      const { statefulsets } = kinds;
      statefulsets.items = [statefulsets.object('a', '1', { annotations: enabled })];
      const owners = start();
      await eventually('the list is there', () => optsIn(owners, 'a'));
      statefulsets.items = [statefulsets.object('b', '150', { annotations: enabled })];
      statefulsets.send(gone);
      await eventually('the new list is there', () => optsIn(owners, 'b') && !optsIn(owners, 'a'));
      expect(statefulsets.watchedFrom.at(-1)).to.equal('200');
    });
  }

  it('keeps what it knows over disconnects, and lists anew after several', async () => {
    const { statefulsets } = kinds;
    statefulsets.items = [statefulsets.object('a', '1', { annotations: enabled })];
    const owners = start();
    await eventually('the list is there', () => optsIn(owners, 'a'));
    const broken = new PodferryError('INTERNAL', 'reset');
    statefulsets.send(broken, broken, broken);
    await eventually('it was listed again', () => statefulsets.lists === 2);
    expect(optsIn(owners, 'a')).to.equal(true);
  });

  it('begins a silent watch anew', async () => {
    start({ idleMs: 5 });
    await eventually('there were several', () => kinds.jobs.watchedFrom.length >= 3);
  });

  it('knows nothing without rights, and all as soon as it has them', async () => {
    const { statefulsets } = kinds;
    statefulsets.items = [statefulsets.object('a', '1', { annotations: enabled })];
    statefulsets.denied = true;
    const owners = start();
    await eventually('the others are listed', () => kinds.cronjobs.watchedFrom.length === 1);
    expect(owners.hasSynced()).to.equal(false);
    expect(owners.annotationsOf('a')).to.deep.equal({});
    statefulsets.denied = false;
    await eventually('this one too', () => owners.hasSynced() && optsIn(owners, 'a'));
  });
});
