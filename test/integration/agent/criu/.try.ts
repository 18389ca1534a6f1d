import { Rig, until, treeOf, killTree, continueAll, storeForTests, statusField } from '/work/main/test/integration/agent/criu/rig.ts';
import { takeCheckpoint } from '/work/main/agent/checkpoint/take.ts';
import { restoreCheckpoint } from '/work/main/agent/checkpoint/restore.ts';
import { criuVersion } from '/work/main/agent/criu/version.ts';
import { randomUUID } from 'node:crypto';
const mib = process.argv[2] ?? '64';
const rig = await Rig.make();
const { store, isReal, close } = storeForTests();
let peak = 0; const t = setInterval(() => { peak = Math.max(peak, process.memoryUsage().rss); }, 20); t.unref();
try {
  console.log('criu', await criuVersion(rig.criu, 5000), 'real store', isReal, 'rss', process.memoryUsage().rss >> 20);
  const a = await rig.container('a');
  const pid = await rig.start(a, ['/usr/bin/python3.11', '/work/main/test/integration/agent/criu/app.py', mib, ...process.argv.slice(3)]);
  await until('up', async () => (await a.lines()).filter((l) => l.includes(' up ')).length === 2 || undefined, 60000);
  const tree = await treeOf(pid);
  console.log('tree', tree);
  for (let i = 0; i < Number(process.env.N ?? 1); i++) {
  const taken = await takeCheckpoint({ criu: rig.criu, store, keyPrefix: 'try/', id: randomUUID(), instance: 'i', generation: 0, facts: { criu: '4.2.1', kernel: '', machine: '', cpuFlags: [] }, rootPid: pid, stdioPid: a.pid, stoppedBefore: [], workDir: rig.dir + '/take', deadlineMs: 60000 });
  console.log(JSON.stringify(taken), 'peak', peak >> 20);
  for (const p of tree) console.log(p, await statusField(p, 'State'), await statusField(p, 'TracerPid'));
  if (i + 1 < Number(process.env.N ?? 1)) { continueAll(tree); continue; }
  await killTree(pid);
  const b = await rig.container('b');
  peak = 0;
  const restored = await restoreCheckpoint({ criu: rig.criu, runRestore: rig.runRestore, firstInheritedFd: 3, store, ref: taken.ref, instance: 'i', stdioPid: b.pid, workDir: rig.dir + '/restore', deadlineMs: 60000 });
  rig.onClose(() => killTree(restored.rootPid));
  console.log(JSON.stringify(restored), 'peak', peak >> 20);
  for (const p of restored.pids) console.log(p, await statusField(p, 'State'), await statusField(p, 'TracerPid'));
  continueAll(restored.pids);
  for (const p of restored.pids) process.kill(p, 'SIGUSR1');
  await until('sums', async () => (await b.lines()).filter((l) => l.includes(' sum ')).length === 2 || undefined, 60000);
  const f = (l: string[]) => l.map((x) => x.split(' ')).map(([r, , d, ...c]) => `${r} ${d?.slice(0, 16)} ${c}`).sort().join(' | ');
  console.log(f(await a.lines())); console.log(f(await b.lines()));
  }
} catch (e) { console.log(e); } finally { await rig.close(); close(); }
