import { PodferryError } from '../../proto/errors.ts';
import type { StoredObject } from '../../proto/s3/list.ts';
import type { Store } from '../../agent/store/store.ts';
import { sha256Hex } from '../../agent/store/manifest.ts';

/** An object store in memory. Tests change `objects` to damage what is stored, and set `refusesPuts` to make writes fail. */
export class MemoryStore implements Store {
  readonly objects = new Map<string, Buffer>();
  /** Puts from this one on (counted from 0) are refused. */
  refusesPutsFrom = Number.POSITIVE_INFINITY;
  /** Never answers, until the caller's signal ends it. */
  hangs = false;
  /** Deletes from this one on (counted from 0) are refused. */
  refusesDeletesFrom = Number.POSITIVE_INFINITY;
  /** Overrides when an object was written, 0 by default. */
  readonly modifiedMs = new Map<string, number>();
  #puts = 0;
  #deletes = 0;

  async put(key: string, body: Uint8Array, options: { sha256: string; signal: AbortSignal }): Promise<void> {
    await this.#gate(options.signal);
    this.#write(key, body, options.sha256);
  }

  async putOnce(key: string, body: Uint8Array, options: { sha256: string; signal: AbortSignal }): Promise<void> {
    await this.#gate(options.signal);
    const there = this.objects.get(key);
    if (there !== undefined && Buffer.compare(there, body) !== 0) {
      throw new PodferryError('STORE_WRITE_FAILED', `${key} exists with other content`, { key });
    }
    this.#write(key, body, options.sha256);
  }

  async read(key: string, target: Uint8Array, bytes: number, signal: AbortSignal): Promise<void> {
    const object = await this.#object(key, signal);
    if (object.byteLength !== bytes) throw new PodferryError('OBJECT_CORRUPT', `${key} has another size`, { key });
    target.set(object);
  }

  async get(key: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array> {
    const object = await this.#object(key, signal);
    if (object.byteLength > maxBytes) throw new PodferryError('OBJECT_CORRUPT', `${key} is too large`, { key });
    return Buffer.from(object);
  }

  async readRange(key: string, offset: number, target: Uint8Array, bytes: number, signal: AbortSignal): Promise<void> {
    const object = await this.#object(key, signal);
    if (object.byteLength < offset + bytes) throw new PodferryError('OBJECT_CORRUPT', `${key} is too short`, { key });
    target.set(object.subarray(offset, offset + bytes));
  }

  async *list(prefix: string, signal: AbortSignal): AsyncGenerator<StoredObject, void, undefined> {
    await this.#gate(signal);
    for (const [key, object] of [...this.objects]) {
      if (!key.startsWith(prefix)) continue;
      yield { key, bytes: object.byteLength, modifiedMs: this.modifiedMs.get(key) ?? 0 };
    }
  }

  async delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    await this.#gate(signal);
    for (const key of keys) {
      this.#deletes += 1;
      if (this.#deletes > this.refusesDeletesFrom) {
        throw new PodferryError('STORE_WRITE_FAILED', `delete of ${key} refused`, { key });
      }
      this.objects.delete(key);
    }
  }

  #write(key: string, body: Uint8Array, sha256: string): void {
    this.#puts += 1;
    if (this.#puts > this.refusesPutsFrom) {
      throw new PodferryError('STORE_WRITE_FAILED', `put of ${key} refused`, { key });
    }
    if (sha256Hex(body) !== sha256) throw new PodferryError('STORE_WRITE_FAILED', 'wrong digest', { key });
    this.objects.set(key, Buffer.from(body));
  }

  async #object(key: string, signal: AbortSignal): Promise<Buffer> {
    await this.#gate(signal);
    const object = this.objects.get(key);
    if (object === undefined) throw new PodferryError('OBJECT_MISSING', `there is no ${key}`, { key });
    return object;
  }

  async #gate(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.hangs) {
      await new Promise<never>((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
    }
    // Never within the caller's turn, as over a network.
    await new Promise((resolve) => setImmediate(resolve));
  }
}
