import { createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { BufferPool } from '../../../../agent/store/buffer-pool.ts';
import { encodeManifest, parseManifest, type Manifest } from '../../../../agent/store/manifest.ts';
import { PageRuns } from '../../../../agent/store/page-runs.ts';
import { PackUpload, PackWriter } from '../../../../agent/store/pack-writer.ts';
import type { Sealing } from '../../../../agent/store/sealing.ts';
import { MemoryStore } from '../../../fakes/store.ts';

/*
 * Another reader, written from FORMAT.md alone: it uses nothing of agent/store. When it has to change, checkpoints that exist can no longer be
 * read, and the format's version must be raised.
 */

const subkey = (key: Buffer, purpose: string, instance: string, salt: Buffer): Buffer =>
  Buffer.from(hkdfSync('sha256', key, salt, `podferry 2 ${purpose}\0${instance}`, 32));

function lz4Block(block: Buffer, rawBytes: number): Buffer {
  const out = Buffer.alloc(rawBytes);
  let at = 0;
  let done = 0;
  const more = (length: number): number => {
    let sum = length;
    if (length === 15) {
      for (;;) {
        const byte = block.readUInt8(at++);
        sum += byte;
        if (byte !== 255) break;
      }
    }
    return sum;
  };
  while (at < block.byteLength) {
    const token = block.readUInt8(at++);
    const literals = more(token >> 4);
    block.copy(out, done, at, at + literals);
    at += literals;
    done += literals;
    if (at >= block.byteLength) break;
    const offset = block.readUInt16LE(at);
    at += 2;
    const length = more(token & 15) + 4;
    for (let i = 0; i < length; i += 1) out.writeUInt8(out.readUInt8(done - offset + i), done + i);
    done += length;
  }
  expect(done).to.equal(rawBytes);
  return out;
}

function openFrame(key: Buffer, label: Buffer, frame: number, sealed: Buffer, rawBytes: number): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32LE(frame);
  const place = Buffer.alloc(8);
  place.writeUInt32LE(frame, 0);
  place.writeUInt32LE(rawBytes, 4);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce);
  decipher.setAAD(Buffer.concat([label, sealed.subarray(0, 1), place]));
  decipher.setAuthTag(sealed.subarray(-16));
  const opened = Buffer.concat([decipher.update(sealed.subarray(1, -16)), decipher.final()]);
  if (sealed.readUInt8(0) === 0) return opened;
  expect(sealed.readUInt8(0)).to.equal(1);
  expect(opened.readUInt32LE(0)).to.equal(rawBytes);
  return lz4Block(opened.subarray(4), rawBytes);
}

interface Json {
  readonly packs: readonly { key: string; bytes: number; frames: number[] }[];
  readonly pages: readonly { id: number; runs: number }[];
}

function readManifest(bytes: Buffer, key: Buffer): { readonly json: Json; readonly runs: number[][] } {
  expect(bytes.subarray(0, 8).toString()).to.equal('PODFERRY');
  const end = 12 + bytes.readUInt32LE(8);
  const header = JSON.parse(bytes.subarray(12, end).toString()) as Record<string, string> & {
    bytes: number;
    format: number;
  };
  expect(header.format).to.equal(2);
  const instance = header['instance'] ?? '';
  expect(subkey(key, 'key check', instance, Buffer.alloc(0)).subarray(0, 8).toString('hex')).to.equal(
    header['keyCheck'],
  );
  const own = subkey(key, 'manifest', instance, Buffer.from(header['salt'] ?? '', 'hex'));
  const content = openFrame(own, bytes.subarray(0, end), 0, bytes.subarray(end), header.bytes);
  const jsonEnd = 4 + content.readUInt32LE(0);
  const json = JSON.parse(content.subarray(4, jsonEnd).toString()) as Json;
  let at = jsonEnd;
  const number = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = content.readUInt8(at++);
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  const runs: number[][] = [];
  for (const image of json.pages) {
    let next = 0;
    for (let i = 0; i < image.runs; i += 1) {
      const [gap, pages, flags, pack, from] = [number(), number(), number(), number(), number()];
      runs.push([image.id, next + gap, pages, flags, pack - 1, from]);
      next += gap + pages;
    }
  }
  expect(at).to.equal(content.byteLength);
  return { json, runs };
}

/** A manifest under a key of 32 sevens. */
const stored = [
  'UE9ERkVSUlmSAAAAeyJmb3JtYXQiOjIsImluc3RhbmNlIjoiaS0xIiwiY2hlY2twb2ludCI6ImMtMSIsImtleUlkIjoiay0xIiwia2V5Q2hlY2siOiI1ZWU4',
  'NjQ0NGJjYTExMWRjIiwic2FsdCI6Ijg4NzQ2ODcxZWNlZDkxM2M0YzNhYzBiOTM4MmJkOWNmIiwiYnl0ZXMiOjQwN30BJwQxlq5uwe2I7M95aYc0G4Xv6wvm',
  't62aeFp6IX48aCPqddXdRClcD3tfcm4myD6sZcEXetQGYsRI5UjGnutH6Jdik6j2Xuq0qc1Ferzxm+YtvjXO5F5WJs7n56HTifrLv4M5265kUL3UomOFWMVw',
  'zk+eZ/w2Y9bPMbHolsSV+Jpvb+mIZmOsFGUW9sYTSQB8LviwXScbsnm536qdMN1Aco8wiP+SbWlBllddrQ4KxIz/vBHUgyfcA+dV6JOjsynAph70n3Su/L2e',
  'mOehGBkUm6N8at3cMmv+rFLjmDfg/DYOqniryZzmGadyI42EaazJfYPUS+GkMTvqR2JWtBSHg0zSKha7wdGePJyJCxOwCxRLsjvMOG4XHgXf0Ie4GXahWM5S',
  '4xKBD2Y3eIr3TJIBTzJoVxQcjWdcxuV1IX5zH0LENGnt9Jwjg9echT5okTC6/w9dR+SwXwU0+nI=',
].join('');

const facts = { criu: '4.2.1', kernel: 'k', machine: 'x86_64', cpuFlags: ['avx'] };

describe('FORMAT.md', () => {
  it('is enough to read what the agent writes', async () => {
    const sealing: Sealing = { instance: 'i-1', id: 'k-1', key: randomBytes(32) };
    const store = new MemoryStore();
    const pool = new BufferPool(2, 600_000);
    const { signal } = new AbortController();
    const fail = (error: unknown): void => expect.fail(String(error));
    const upload = new PackUpload({ store, keyPrefix: 'p/', pool, sealing, parallel: 2, signal, fail });
    const writer = new PackWriter(upload);
    const raw = Buffer.concat([
      randomBytes(300_000),
      Buffer.from('again and again; '.repeat(15_000)),
      Buffer.alloc(4096),
    ]);
    await writer.write(raw.subarray(0, 600_000));
    writer.seal();
    const manifest: Manifest = {
      checkpoint: 'c-1',
      instance: 'i-1',
      generation: 3,
      facts,
      rootPid: 7,
      stoppedBefore: [],
      stdio: [],
      packs: await upload.finish(),
      images: [],
      pages: [
        {
          kind: 'pid',
          id: 7,
          runs: PageRuns.of([
            { page: 2 ** 34 + 5, pages: 3, flags: 6, pack: 0, at: 2 },
            { page: 2 ** 34 + 9, pages: 700, flags: 6, pack: -1, at: 0 },
          ]),
        },
        { kind: 'shmem', id: 9, runs: PageRuns.of([{ page: 0, pages: 1, flags: 4, pack: 0, at: 0 }]) },
      ],
    };
    const { json, runs } = readManifest(encodeManifest(manifest, sealing), sealing.key);
    expect(runs).to.deep.equal([
      [7, 2 ** 34 + 5, 3, 6, 0, 2],
      [7, 2 ** 34 + 9, 700, 6, -1, 0],
      [9, 0, 1, 4, 0, 0],
    ]);
    const parts: Buffer[] = [];
    for (const { key, bytes, frames } of json.packs) {
      const object = store.objects.get(key) ?? Buffer.alloc(0);
      const name = key.split('/').at(-1) ?? '';
      const own = subkey(sealing.key, 'pack', 'i-1', Buffer.from(name));
      const label = Buffer.from(`podferry 2 pack\0i-1\0${name}\0`);
      let at = 0;
      for (const [i, length] of frames.entries()) {
        const rawBytes = Math.min(262_144, bytes - i * 262_144);
        parts.push(openFrame(own, label, i, object.subarray(at, at + length), rawBytes));
        at += length;
      }
      expect(at).to.equal(object.byteLength);
    }
    const read = Buffer.concat(parts);
    expect(read.equals(raw.subarray(0, read.byteLength))).to.equal(true);
    expect(read.byteLength).to.equal(Math.min(raw.byteLength, 600_000));
  });

  it('is the format of what was stored before', () => {
    const sealing: Sealing = { instance: 'i-1', id: 'k-1', key: Buffer.alloc(32, 7) };
    const bytes = Buffer.from(stored, 'base64');
    const { json, runs } = readManifest(bytes, sealing.key);
    expect(json.packs).to.have.length(1);
    expect(runs).to.deep.equal([[7, 300, 2, 6, 0, 1]]);
    expect(parseManifest(bytes, sealing)).to.deep.include({
      checkpoint: 'c-1',
      takenMs: 1_790_000_000_000,
      parent: 'c-0',
      pages: [{ kind: 'pid', id: 7, runs: PageRuns.of([{ page: 300, pages: 2, flags: 6, pack: 0, at: 1 }]) }],
    });
  });
});
