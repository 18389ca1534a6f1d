import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PodferryError } from '../../proto/errors.ts';
import { startDump } from '../criu/dump.ts';
import { decodeDumpStats } from '../criu/images.ts';
import { PageReceiver } from '../pages/page-receiver.ts';
import { PackWriter } from '../store/pack-writer.ts';
import type { Attempt } from './attempt.ts';
import { storeImages } from './take-images.ts';
import type { FrozenTree, TakeContext } from './take-options.ts';

/**
 * Stops the tree and receives every page from CRIU, straight into packs: for memory that only CRIU can read well. When it rejects,
 * CRIU is gone.
 */
export async function takeReceived(context: TakeContext, attempt: Attempt): Promise<FrozenTree> {
  const { options, stored, local, watch, onStopped } = context;
  const dump = await startDump({
    criu: options.criu,
    pid: options.rootPid,
    imagesDir: options.workDir,
    stopSeconds: Math.max(Math.ceil(attempt.remainingMs / 1000), 1),
    binary: options.binary,
  });
  const stopped = (): void => {
    watch.lap('stop');
    onStopped();
  };
  const writers = { local, lazy: new PackWriter(stored.upload) };
  const receiver: PageReceiver = new PageReceiver(dump.pages, writers, stopped, (error) => {
    // An error of the socket itself comes from CRIU's end, which says why in its own words.
    if (error instanceof PodferryError) attempt.fail(error);
    else receiver.destroy();
  });
  try {
    await attempt.race(dump.done);
    const endedAt = performance.now();
    const received = receiver.finish();
    const stats = decodeDumpStats(await readFile(join(options.workDir, 'stats-dump')));
    watch.lap('dump');
    return {
      pages: received.map(({ kind, id, runs }) => ({
        kind,
        id,
        runs: runs.renumbered((pack) => stored.numberOf(pack)),
      })),
      images: await storeImages(options.workDir, local),
      pageBytes: receiver.pageBytes,
      stoppedAt: endedAt - (stats.freezingTime + stats.frozenTime) / 1000,
    };
  } catch (error) {
    receiver.destroy();
    await dump.abort();
    throw error;
  }
}
