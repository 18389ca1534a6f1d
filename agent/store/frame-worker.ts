import { parentPort } from 'node:worker_threads';
import { bytesAt, type Answer, type Request } from './frame-threads.ts';
import { openPack, sealPack } from './frames.ts';

/** A thread that seals and opens packs where they lie. */
function answer({ id, kind, key, area, frames, rawAt, rawBytes, sealed }: Request): Answer {
  const whole = Buffer.from(area);
  try {
    return kind === 'seal'
      ? { id, sealed: sealPack(key, whole, rawAt, rawBytes) }
      : { id, badFrame: openPack(key, whole, frames, rawAt, rawBytes, bytesAt(sealed)) };
  } catch (error) {
    return { id, failure: error instanceof Error ? error.message : String(error) };
  }
}

parentPort?.on('message', (request: Request) => parentPort?.postMessage(answer(request)));
