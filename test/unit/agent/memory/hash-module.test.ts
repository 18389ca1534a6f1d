import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { hashPages, PageHasher } from '../../../../agent/memory/page-hasher.ts';

const mask = (1n << 64n) - 1n;
const [p1, p2, p3, p4, p5] = [
  0x9e3779b185ebca87n,
  0xc2b2ae3d27d4eb4fn,
  0x165667b19e3779f9n,
  0x85ebca77c2b2ae63n,
  0x27d4eb2f165667c5n,
];
const rotate = (value: bigint, by: bigint): bigint => ((value << by) | (value >> (64n - by))) & mask;
const round = (lane: bigint, word: bigint): bigint => (rotate((lane + word * p2) & mask, 31n) * p1) & mask;

/** XXH64 as its specification says, of a multiple of 32 bytes. */
function xxh64(bytes: Buffer, seed: bigint): bigint {
  let hash = (seed + p5) & mask;
  if (bytes.byteLength > 0) {
    const lanes = [seed + p1 + p2, seed + p2, seed, seed - p1].map((lane) => lane & mask);
    for (let at = 0; at < bytes.byteLength; at += 8) {
      const i = (at / 8) % 4;
      lanes[i] = round(lanes[i] ?? 0n, bytes.readBigUInt64LE(at));
    }
    hash = lanes.reduce((sum, lane, i) => sum + rotate(lane, [1n, 7n, 12n, 18n][i] ?? 0n), 0n) & mask;
    for (const lane of lanes) hash = ((hash ^ round(0n, lane)) * p1 + p4) & mask;
  }
  hash = (hash + BigInt(bytes.byteLength)) & mask;
  hash = ((hash ^ (hash >> 33n)) * p2) & mask;
  hash = ((hash ^ (hash >> 29n)) * p3) & mask;
  return hash ^ (hash >> 32n);
}

describe('PageHasher', () => {
  const page = 4096;

  it('computes XXH64 of each page', () => {
    // The empty input's hash is a published one: the reference here is right.
    expect(xxh64(Buffer.alloc(0), 0n)).to.equal(0xef46db3751d8e999n);
    for (const seed of [0n, 1n, 0xfedcba9876543210n]) {
      const hasher = new PageHasher(4, seed);
      for (let i = 0; i < hasher.memory.byteLength; i++) hasher.memory[i] = (i * 31 + (i >> 9)) & 255;
      const hashes = new BigUint64Array(hasher.hashes.buffer, hasher.hashes.byteOffset, 4);
      hasher.hash(1, 3);
      for (const i of [1, 2, 3]) {
        expect(hashes[i]).to.equal(xxh64(hasher.memory.subarray(i * page, (i + 1) * page), seed));
      }
      expect(hashes[0]).to.equal(0n);
    }
  });

  it('gives zero for pages of zeroes and for no others, wherever the one byte lies', () => {
    const hasher = new PageHasher(1, 7n);
    const hashes = new BigUint64Array(hasher.hashes.buffer, hasher.hashes.byteOffset, 1);
    hasher.hash(0, 1);
    expect(hashes[0]).to.equal(0n);
    const seen = new Set<bigint>();
    for (const at of [0, 7, 8, 31, 32, 1000, 4088, 4095]) {
      hasher.memory.fill(0);
      hasher.memory[at] = 1;
      hasher.hash(0, 1);
      seen.add(hashes[0] ?? 0n);
    }
    expect(seen.size).to.equal(8);
    expect(seen.has(0n)).to.equal(false);
  });

  it('refuses pages outside its memory', () => {
    const hasher = new PageHasher(2, 0n);
    expect(() => hasher.hash(1, 2)).to.throw(RangeError);
    expect(() => hasher.hash(0, 0)).to.throw(RangeError);
  });
});

describe('hashPages', () => {
  it('hashes memory that lies anywhere as a scan of the process would', () => {
    const pages = 130;
    const memory = randomBytes(pages * 4096 + 100);
    memory.fill(0, 4096 * 3, 4096 * 4);
    for (const seed of [1n, 2n ** 63n + 5n]) {
      const scan = new PageHasher(256, seed);
      scan.memory.set(memory.subarray(0, pages * 4096));
      scan.hash(0, pages);
      const hashes = new Int32Array(2 * pages);
      hashPages(memory, seed, hashes);
      expect(hashes).to.deep.equal(scan.hashes.slice(0, 2 * pages));
      expect([hashes[6], hashes[7]]).to.deep.equal([0, 0]);
    }
  });
});
