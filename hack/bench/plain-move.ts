import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { deleteBelow, downloadFolder, uploadFolder } from './objects.ts';
import { plainDump, plainRestore } from './plain-criu.ts';
import { intoContainer, onStage, type Bench, type Stage } from './setting.ts';
import { Workload, type Load } from './workload.ts';

const rounds = 5;

/** A move by plain CRIU: dump, upload of the files, download, restore. @returns the freeze that the application saw */
async function plainMove(on: Stage, from: Workload): Promise<{ readonly gapMs: number; readonly workload: Workload }> {
  const { rig, store, prefix } = on;
  const dir = join(rig.dir, 'plain');
  const links = await plainDump(rig, from.pid, from.container, dir, 'kill');
  const files = await uploadFolder(store, `${prefix}plain/`, dir);
  await rm(dir, { recursive: true });
  await downloadFolder(store, `${prefix}plain/`, dir, files);
  const { container: to } = await intoContainer(on, from.pid, (target) => plainRestore(rig, dir, links, target));
  const workload = new Workload(to, from.pid);
  const gapMs = await workload.gapAfter(0);
  await rm(dir, { recursive: true });
  await deleteBelow(store, prefix);
  return { gapMs, workload };
}

/** Moves one process several times, and checks it afterwards. @returns the freezes that it saw, in ms */
export async function plainMoves(bench: Bench, load: Load): Promise<readonly number[]> {
  return onStage(bench, load, async (on) => {
    const gaps: number[] = [];
    let { workload } = on;
    for (let nth = 1; nth <= rounds; nth++) {
      const one = await plainMove(on, workload);
      ({ workload } = one);
      bench.say(`freeze by plain criu ${nth}/${rounds}: ${one.gapMs} ms`);
      gaps.push(one.gapMs);
    }
    await workload.check();
    return gaps;
  });
}
