import type { Worker } from 'node:worker_threads';
import { PodferryError, toPodferryError } from '../../proto/errors.ts';
import { startWorker } from '../start-worker.ts';
import type { ScanReply, ScanRequest, ScanStart } from './scan-messages.ts';

/** A thread that scans, one request at a time. */
export class ScanThread {
  readonly #worker: Worker;
  #waiting: { resolve(reply: ScanReply): void; reject(error: unknown): void } | undefined;
  #failure: PodferryError | undefined;

  constructor(start: ScanStart) {
    this.#worker = startWorker(import.meta.url, 'scan-worker', { workerData: start });
    this.#worker.unref();
    this.#worker.on('message', (reply: ScanReply) => {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting?.resolve(reply);
    });
    this.#worker.on('error', (error) => this.#fail(toPodferryError(error, 'scanning memory')));
    this.#worker.on('exit', () => this.#fail(new PodferryError('INTERNAL', 'a thread that scans memory has ended')));
  }

  /** @throws PodferryError INTERNAL when the thread has failed; it can do nothing more */
  async ask(request: ScanRequest): Promise<ScanReply> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#waiting !== undefined) throw new PodferryError('INTERNAL', 'a scanning thread was asked twice');
    return await new Promise<ScanReply>((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#worker.postMessage(request);
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #fail(error: PodferryError): void {
    this.#failure ??= error;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(this.#failure);
  }
}
