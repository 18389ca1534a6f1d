import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import { compressSync, uncompressSync } from 'lz4-napi';
import { formatVersion, subkey, type Sealing } from './sealing.ts';

/** Raw bytes of a frame; the last of a pack may have fewer. */
export const frameBytes = 256 * 1024;
const tagBytes = 16;
const cipherName = 'aes-256-gcm';

/** How many bytes longer than its content a sealed frame may be. */
export const frameOverhead = 1 + tagBytes;

/** First byte of a sealed frame. */
const codecs = { raw: 0, lz4: 1 } as const;

/** lz4-napi puts the raw length before the block. */
const lz4HeadBytes = 4;
const samples = 4;
const sampleBytes = 2048;
/** Of what is sealed compressed; less gain is not worth the time to decompress. */
const worthwhile = 0.95;

export const framesOf = (rawBytes: number): number => Math.ceil(rawBytes / frameBytes);
export const rawBytesOfFrame = (rawBytes: number, frame: number): number =>
  Math.min(frameBytes, rawBytes - frame * frameBytes);

/** Seals and opens the frames of one pack. */
export interface PackKey {
  readonly key: Uint8Array;
  /** What every frame is bound to: format, instance, pack. */
  readonly label: Uint8Array;
}

/** @param name the last part of the pack's object key; random, so that the pack's key never seals twice */
export function packKey(sealing: Sealing, name: string): PackKey {
  const label = Buffer.from(`podferry ${formatVersion} pack\0${sealing.instance}\0${name}\0`);
  return { key: subkey(sealing, 'pack', Buffer.from(name)), label };
}

export const packName = (objectKey: string): string => objectKey.slice(objectKey.lastIndexOf('/') + 1);

function nonceOf(frame: number): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32LE(frame, 0);
  return nonce;
}

/** Binds a frame to its place. */
function boundTo({ label }: PackKey, frame: number, codec: number, rawBytes: number): Buffer {
  const place = Buffer.alloc(9);
  place.writeUInt8(codec, 0);
  place.writeUInt32LE(frame, 1);
  place.writeUInt32LE(rawBytes, 5);
  return Buffer.concat([label, place]);
}

/** Trying to compress what cannot be is the slowest part of sealing; a sample tells in a thirtieth of the time. */
function looksCompressible(raw: Buffer): boolean {
  if (raw.byteLength <= samples * sampleBytes) return true;
  const step = Math.floor(raw.byteLength / samples);
  const parts = Array.from({ length: samples }, (_, i) => raw.subarray(i * step, i * step + sampleBytes));
  const sample = Buffer.concat(parts);
  return compressSync(sample).byteLength < sample.byteLength * worthwhile;
}

function compressed(raw: Buffer): Buffer | undefined {
  if (!looksCompressible(raw)) return undefined;
  const small = compressSync(raw);
  return small.byteLength < raw.byteLength * worthwhile ? small : undefined;
}

/** Seals one frame into `target` and returns its length there. `raw` is read before anything is written, so they may overlap. */
export function sealFrame(key: PackKey, frame: number, raw: Buffer, target: Buffer, compresses = true): number {
  const small = compresses ? compressed(raw) : undefined;
  const codec = small === undefined ? codecs.raw : codecs.lz4;
  const cipher = createCipheriv(cipherName, key.key, nonceOf(frame));
  cipher.setAAD(boundTo(key, frame, codec, raw.byteLength));
  const sealed = cipher.update(small ?? raw);
  cipher.final();
  target.writeUInt8(codec, 0);
  target.set(sealed, 1);
  target.set(cipher.getAuthTag(), 1 + sealed.byteLength);
  return sealed.byteLength + frameOverhead;
}

/** Opens one frame into the start of `target`, which may overlap it; false when it is not what was sealed. Then nothing is written. */
export function openFrame(key: PackKey, frame: number, sealed: Buffer, rawBytes: number, target: Buffer): boolean {
  if (sealed.byteLength <= frameOverhead) return false;
  const codec = sealed.readUInt8(0);
  if (codec !== codecs.raw && codec !== codecs.lz4) return false;
  const decipher = createDecipheriv(cipherName, key.key, nonceOf(frame), { authTagLength: tagBytes });
  decipher.setAAD(boundTo(key, frame, codec, rawBytes));
  decipher.setAuthTag(Buffer.from(sealed.subarray(-tagBytes)));
  const opened = decipher.update(sealed.subarray(1, -tagBytes));
  try {
    decipher.final();
  } catch {
    // The one thing that final() reports: the tag does not fit.
    return false;
  }
  if (codec === codecs.raw) {
    if (opened.byteLength !== rawBytes) return false;
    target.set(opened);
    return true;
  }
  if (opened.byteLength < lz4HeadBytes || opened.readUInt32LE(0) !== rawBytes) return false;
  target.set(uncompressSync(opened));
  return true;
}

export interface SealedPack {
  /** Length of each sealed frame. */
  readonly frames: readonly number[];
  /** Of all of them. */
  readonly bytes: number;
  /** Hex, of the sealed bytes. */
  readonly sha256: string;
}

/**
 * Seals a pack within its buffer: the frames come to lie one after the other from the buffer's start.
 * @param rawAt at least frameOverhead for each frame, so that no frame is overwritten before it was sealed
 */
export function sealPack(key: PackKey, whole: Buffer, rawAt: number, rawBytes: number, compresses = true): SealedPack {
  const frames: number[] = [];
  let bytes = 0;
  for (let frame = 0; frame < framesOf(rawBytes); frame += 1) {
    const at = rawAt + frame * frameBytes;
    const raw = whole.subarray(at, at + rawBytesOfFrame(rawBytes, frame));
    const length = sealFrame(key, frame, raw, whole.subarray(bytes), compresses);
    frames.push(length);
    bytes += length;
  }
  return { frames, bytes, sha256: createHash('sha256').update(whole.subarray(0, bytes)).digest('hex') };
}

/**
 * Opens a sealed pack; the raw bytes come to lie from `rawAt` of the buffer.
 * @param elsewhere the sealed bytes when they do not lie at the end of the buffer
 * @returns the number of the first frame that is not what was sealed, or undefined when all is well
 */
export function openPack(
  key: PackKey,
  whole: Buffer,
  frames: readonly number[],
  rawAt: number,
  rawBytes: number,
  elsewhere?: Buffer,
): number | undefined {
  const source = elsewhere ?? whole;
  let at = source.byteLength - frames.reduce((sum, next) => sum + next, 0);
  for (const [frame, length] of frames.entries()) {
    const target = whole.subarray(rawAt + frame * frameBytes);
    const expected = rawBytesOfFrame(rawBytes, frame);
    if (!openFrame(key, frame, source.subarray(at, at + length), expected, target)) return frame;
    at += length;
  }
  return undefined;
}
