/**
 * A WebAssembly module with one function, `hash(from, pages, to, seed)`: XXH64 of each page of 4096 bytes, as u64 at `to`.
 * It is assembled here, since per-page calls of a library cost more than the hashing, and a native library would need a build for
 * each machine. A page of zeroes gets 0, no other page does.
 * @see the xxHash specification, XXH64 (github.com/Cyan4973/xxHash, doc/xxhash_spec.md); the WebAssembly core specification, binary format
 */

const prime1 = 0x9e3779b185ebca87n;
const prime2 = 0xc2b2ae3d27d4eb4fn;
const prime3 = 0x165667b19e3779f9n;
const prime4 = 0x85ebca77c2b2ae63n;

const pageBytes = 4096;
const stripeBytes = 32;

type Code = readonly number[];

function unsigned(value: number): Code {
  const low = value & 0x7f;
  return value < 0x80 ? [low] : [low | 0x80, ...unsigned(Math.floor(value / 0x80))];
}

function signed(value: bigint): Code {
  const low = Number(value & 0x7fn);
  const rest = value >> 7n;
  const isLast = (rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0);
  return isLast ? [low] : [low | 0x80, ...signed(rest)];
}

const i32 = 0x7f;
const i64 = 0x7e;
const get = (local: number): Code => [0x20, ...unsigned(local)];
const set = (local: number): Code => [0x21, ...unsigned(local)];
const tee = (local: number): Code => [0x22, ...unsigned(local)];
const const32 = (value: number): Code => [0x41, ...signed(BigInt(value))];
const const64 = (value: bigint): Code => [0x42, ...signed(BigInt.asIntN(64, value))];
const load64 = (offset: number): Code => [0x29, 3, ...unsigned(offset)];
const store64: Code = [0x37, 3, 0];
const loop = (...body: Code[]): Code => [0x03, 0x40, ...body.flat(), 0x0b];
const repeatIf: Code = [0x0d, 0];
const select: Code = [0x1b];
const add32: Code = [0x6a];
const isBelow32: Code = [0x49];
const isZero64: Code = [0x50];
const add: Code = [0x7c];
const multiply: Code = [0x7e];
const or: Code = [0x84];
const xor: Code = [0x85];
const shiftRight: Code = [0x88];
const rotateLeft: Code = [0x89];

const [from, pages, to, seed, end, any, word, hash] = [0, 1, 2, 3, 4, 5, 6, 7];
const lanes = [8, 9, 10, 11] as const;

/** Of the value on the stack, which is `lane + word * prime2`. */
const finishRound: Code = [...const64(31n), ...rotateLeft, ...const64(prime1), ...multiply].flat();

const stripe: Code = lanes.flatMap((lane, i) => [
  ...[get(lane), get(from), load64(i * 8), tee(word), const64(prime2), multiply, add, finishRound, set(lane)].flat(),
  ...[get(any), get(word), or, set(any)].flat(),
]);

const startLanes: Code = [prime1 + prime2, prime2, 0n, -prime1].flatMap((value, i) => [
  ...[get(seed), const64(value), add, set(lanes[i] ?? 0)].flat(),
]);

const rotations = [1n, 7n, 12n, 18n];
const merge: Code = [
  ...lanes.flatMap((lane, i) => [...get(lane), ...const64(rotations[i] ?? 0n), ...rotateLeft, ...(i === 0 ? [] : add)]),
  ...set(hash),
  ...lanes.flatMap((lane) =>
    [
      ...[get(lane), const64(prime2), multiply, finishRound],
      ...[get(hash), xor, const64(prime1), multiply, const64(prime4), add, set(hash)],
    ].flat(),
  ),
];

const scramble = (shift: bigint, prime: bigint | undefined): Code => [
  ...[get(hash), get(hash), const64(shift), shiftRight, xor].flat(),
  ...(prime === undefined ? [] : [...const64(prime), ...multiply]),
  ...set(hash),
];

const avalanche: Code = [
  ...[get(hash), const64(BigInt(pageBytes)), add, set(hash)].flat(),
  ...scramble(33n, prime2),
  ...scramble(29n, prime3),
  ...scramble(32n, undefined),
];

/** hash = any == 0 ? 0 : hash == 0 ? 1 : hash */
const markZero: Code = [
  ...[get(to), const64(0n)].flat(),
  ...[const64(1n), get(hash), get(hash), isZero64, select].flat(),
  ...[get(any), isZero64, select, store64].flat(),
];

const body: Code = loop(
  [...const64(0n), ...set(any)],
  startLanes,
  [...get(from), ...const32(pageBytes), ...add32, ...set(end)],
  loop(stripe, [...get(from), ...const32(stripeBytes), ...add32, ...tee(from), ...get(end), ...isBelow32, ...repeatIf]),
  merge,
  avalanche,
  markZero,
  [...get(to), ...const32(8), ...add32, ...set(to)],
  [...get(pages), ...const32(-1), ...add32, ...tee(pages), ...repeatIf],
);

const section = (id: number, content: Code): Code => [id, ...unsigned(content.length), ...content];
const name = (text: string): Code => [text.length, ...Buffer.from(text)];

function assemble(): Uint8Array<ArrayBuffer> {
  const locals = [3, 1, i32, 3, i64, 4, i64];
  const code = [...locals, ...body, 0x0b];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 4, i32, i32, i32, i64, 0]),
    ...section(2, [1, ...name('env'), ...name('memory'), 2, 0, 1]),
    ...section(3, [1, 0]),
    ...section(7, [1, ...name('hash'), 0, 0]),
    ...section(10, [1, ...unsigned(code.length), ...code]),
  ]);
}

/** The module's bytes. */
export const hashModule = assemble;
