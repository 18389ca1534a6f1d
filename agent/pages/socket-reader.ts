import { Socket, type SocketConstructorOpts } from 'node:net';

/** Reads at most this much into our own memory; it is copied on from there. */
const bounceBytes = 64 * 1024;

/** Takes the bytes of a stream. */
export interface StreamTarget {
  /** Memory to receive the next bytes in without a copy; undefined: they are given to feed. */
  direct(atLeast: number): Uint8Array | undefined;
  /** That many bytes came into direct(). */
  advance(bytes: number): void;
  /** Takes bytes in order and says how many; fewer than given when there is no memory now. */
  feed(chunk: Uint8Array): number;
}

/**
 * Reads a socket into memory that its target chooses for each read: headers are copied, large content is received in place.
 * That is the difference between 0.5 and 1.5 GB/s of a dump. It needs the handle of a socket that node has already wrapped,
 * which has no public name; everything else is the documented `onread`.
 */
export class SocketReader {
  readonly socket: Socket;
  readonly #target: StreamTarget;
  readonly #bounce = Buffer.allocUnsafeSlow(bounceBytes);
  readonly #fail: (error: unknown) => void;
  readonly #whenRoom: (call: () => void) => void;
  #rest: Buffer | undefined;
  #stopped = false;

  /**
   * @param wrapped a socket nobody has read from; it must not be used afterwards
   * @param whenRoom calls back when feed may take more
   * @param fail gets what the target throws, and errors of the socket; nothing is read afterwards
   */
  constructor(
    wrapped: Socket,
    target: StreamTarget,
    whenRoom: (call: () => void) => void,
    fail: (error: unknown) => void,
  ) {
    this.#target = target;
    this.#whenRoom = whenRoom;
    this.#fail = fail;
    const handle: unknown = Reflect.get(wrapped, '_handle');
    Reflect.set(wrapped, '_handle', null);
    const onread = {
      buffer: () => this.#next(),
      callback: (bytes: number, buffer: Uint8Array) => this.#read(bytes, buffer),
    };
    this.socket = new Socket({ handle, onread } as SocketConstructorOpts);
    this.socket.on('error', (error) => this.#stop(error));
    this.socket.resume();
  }

  /** Closes the connection; the other side sees its end. */
  destroy(): void {
    this.#stopped = true;
    this.socket.destroy();
  }

  #stop(error: unknown): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#fail(error);
  }

  #next(): Uint8Array {
    // Node asks for the next read's memory even when the last callback paused.
    if (this.#rest !== undefined || this.#stopped) return this.#bounce;
    try {
      return this.#target.direct(bounceBytes) ?? this.#bounce;
    } catch (error) {
      this.#stop(error);
      return this.#bounce;
    }
  }

  #read(bytes: number, buffer: Uint8Array): boolean {
    if (this.#stopped) return false;
    try {
      if (buffer !== this.#bounce) {
        this.#target.advance(bytes);
        return true;
      }
      const chunk = this.#bounce.subarray(0, bytes);
      const taken = this.#target.feed(chunk);
      if (taken === bytes) return true;
      this.#rest = Buffer.from(chunk.subarray(taken));
      this.#whenRoom(() => this.#resume());
      return false;
    } catch (error) {
      this.#stop(error);
      return false;
    }
  }

  #resume(): void {
    if (this.#stopped || this.#rest === undefined) return;
    try {
      const taken = this.#target.feed(this.#rest);
      if (taken < this.#rest.byteLength) {
        this.#rest = this.#rest.subarray(taken);
        this.#whenRoom(() => this.#resume());
        return;
      }
      this.#rest = undefined;
      this.socket.resume();
    } catch (error) {
      this.#stop(error);
    }
  }
}
