import { goodReview } from './sample.ts';
import { openTls, type Reply, replyOf, type Target, write } from './wire.ts';

export interface Attack {
  readonly run: (target: Target, random: () => number) => Promise<Reply>;
  /** The statuses that may come back; none for a connection that is broken off. */
  readonly allows: (status: number) => boolean;
}

export const refused = (status: number) => status >= 400 && status < 500;
export const answeredOrRefused = (status: number) => status === 200 || refused(status);
export const pick = <T>(random: () => number, from: readonly [T, ...T[]]): T =>
  from[Math.floor(random() * from.length)] ?? from[0];
export const number = (random: () => number, from: number, to: number) => from + Math.floor(random() * (to - from));
export const good = () => JSON.stringify(goodReview('fuzz'));

export async function send(target: Target, ...parts: (string | Buffer)[]): Promise<Reply> {
  const socket = await openTls(target);
  const reply = replyOf(socket);
  await write(socket, parts);
  return reply;
}

/** A good review with some of its bytes changed, or without its end. */
export function mutated(random: () => number): Buffer {
  const bytes = Buffer.from(good());
  for (let count = number(random, 1, 6); count > 0; count -= 1) {
    const at = number(random, 0, bytes.length);
    bytes[at] = number(random, 0, 256);
  }
  return random() < 0.3 ? bytes.subarray(0, number(random, 0, bytes.length)) : bytes;
}
