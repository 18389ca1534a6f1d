import { once } from 'node:events';
import type { ListPage } from '../../proto/s3/list.ts';
import type { ObjectStore } from '../../operator/store/object-store.ts';

/** Small, so that every listing has several pages. */
const keysOfPage = 2;

/** The operator's view of an object store, in memory. */
export class ListedObjects implements ObjectStore {
  /** When each object was written. */
  readonly objects = new Map<string, number>();
  nowMs = 0;
  /** Looked at before each answer of a listing, and before each object is removed; what it throws breaks the call off there. */
  beforeAnswer: (asked: { readonly list?: string; readonly remove?: string }) => void = () => undefined;
  tellsTime = true;
  /** No listing answers, until the caller's signal ends it. */
  hangs = false;

  put(key: string, modifiedMs = this.nowMs): void {
    this.objects.set(key, modifiedMs);
  }

  below(prefix: string): readonly string[] {
    return [...this.objects.keys()].filter((key) => key.startsWith(prefix)).toSorted();
  }

  async *pages(
    prefix: string,
    level: 'all' | 'folder',
    signal: AbortSignal,
  ): AsyncGenerator<ListPage, void, undefined> {
    let after = '';
    for (;;) {
      this.#turn({ list: prefix }, signal);
      if (this.hangs) await once(signal, 'abort');
      signal.throwIfAborted();
      const entries = new Set(
        this.below(prefix).map((key) => {
          const end = level === 'all' ? -1 : key.indexOf('/', prefix.length);
          return end < 0 ? key : key.slice(0, end + 1);
        }),
      );
      const left = [...entries].filter((key) => key > after);
      const page = left.slice(0, keysOfPage);
      yield {
        objects: page
          .filter((key) => !key.endsWith('/'))
          .map((key) => ({ key, bytes: 1, modifiedMs: this.objects.get(key) ?? 0 })),
        folders: page.filter((key) => key.endsWith('/')),
        atMs: this.tellsTime ? this.nowMs : undefined,
      };
      if (left.length <= keysOfPage) return;
      after = page.at(-1) ?? '';
    }
  }

  async delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    for (const key of keys) {
      this.#turn({ remove: key }, signal);
      this.objects.delete(key);
    }
  }

  close(): void {
    this.objects.clear();
  }

  #turn(asked: { readonly list?: string; readonly remove?: string }, signal: AbortSignal): void {
    signal.throwIfAborted();
    this.beforeAnswer(asked);
  }
}
