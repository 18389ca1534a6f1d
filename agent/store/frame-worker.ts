import { parentPort } from 'node:worker_threads';
import { openAndHash, type Answer, type Request } from './frame-threads.ts';
import { sealPack } from './frames.ts';

/** A thread that seals and opens packs where they lie. */
function answer(request: Request): Answer {
  const { id, kind, key, area, rawAt, rawBytes, compresses } = request;
  try {
    return kind === 'seal'
      ? { id, sealed: sealPack(key, Buffer.from(area), rawAt, rawBytes, compresses) }
      : { id, badFrame: openAndHash(request) };
  } catch (error) {
    return { id, failure: error instanceof Error ? error.message : String(error) };
  }
}

parentPort?.on('message', (request: Request) => parentPort?.postMessage(answer(request)));
