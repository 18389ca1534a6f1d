import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { PodferryError } from '../../proto/errors.ts';
import { frameOverhead, openFrame, sealFrame, type PackKey } from './frames.ts';
import { formatVersion, keyCheck, subkey, type Sealing } from './sealing.ts';

/** What is sealed in one piece, with its key derived for that alone. */
export interface EnvelopeKind {
  /** 8 bytes. */
  readonly magic: Buffer;
  readonly purpose: 'manifest' | 'log';
  /** For messages: "it is no ..." */
  readonly called: string;
}

const manifestKind: EnvelopeKind = {
  magic: Buffer.from('PODFERRY'),
  purpose: 'manifest',
  called: 'manifest of Podferry',
};
const saltBytes = 16;
const maxHeaderBytes = 64 * 1024;

/** No manifest is read beyond this, sealed or opened. */
export const maxManifestBytes = 256 * 1024 * 1024;

const header = z.object({
  format: z.int(),
  instance: z.string().min(1),
  checkpoint: z.string().min(1),
  /** Of a log. */
  name: z.string().min(1).optional(),
  keyId: z.string().min(1),
  keyCheck: z.string().regex(/^[0-9a-f]{16}$/),
  salt: z.string().regex(/^[0-9a-f]{32}$/),
  /** Of the content, opened. */
  bytes: z.int().positive().max(maxManifestBytes),
});

/** What can be read of a manifest without its key. It is authenticated when the manifest is opened. */
export type ManifestHeader = Readonly<z.infer<typeof header>>;

/** Seals the content of a manifest. */
export function sealManifest(checkpoint: string, content: Buffer, sealing: Sealing): Buffer {
  return sealEnvelope(manifestKind, { checkpoint }, content, sealing);
}

/** Seals something in one piece, bound to what it is of. */
export function sealEnvelope(
  { magic, purpose }: EnvelopeKind,
  of: Pick<ManifestHeader, 'checkpoint' | 'name'>,
  content: Buffer,
  sealing: Sealing,
): Buffer {
  const salt = randomBytes(saltBytes);
  const clear: ManifestHeader = {
    format: formatVersion,
    instance: sealing.instance,
    ...of,
    keyId: sealing.id,
    keyCheck: keyCheck(sealing),
    salt: salt.toString('hex'),
    bytes: content.byteLength,
  };
  const json = Buffer.from(JSON.stringify(clear));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.byteLength);
  const head = Buffer.concat([magic, length, json]);
  const whole = Buffer.alloc(head.byteLength + content.byteLength + frameOverhead);
  head.copy(whole);
  const bytes = sealFrame(keyOf(purpose, sealing, salt, head), 0, content, whole.subarray(head.byteLength));
  return whole.subarray(0, head.byteLength + bytes);
}

/** The body is one frame, bound to everything that stands before it. */
function keyOf(purpose: EnvelopeKind['purpose'], sealing: Sealing, salt: Uint8Array, head: Buffer): PackKey {
  return { key: subkey(sealing, purpose, salt), label: head };
}

/** @param why completes "... cannot be read: " */
export function invalid(name: string, why: string, cause?: unknown): PodferryError {
  return new PodferryError('MANIFEST_INVALID', `${name} cannot be read: ${why}`, { key: name }, { cause });
}

/**
 * The part of a manifest that needs no key. Trust nothing of it: it may be anybody's until the manifest is opened.
 * @throws PodferryError MANIFEST_INVALID
 */
export function readHeader(
  bytes: Buffer,
  name: string,
  { magic, called }: EnvelopeKind = manifestKind,
): { readonly header: ManifestHeader; readonly headBytes: number } {
  const jsonAt = magic.byteLength + 4;
  if (bytes.byteLength < jsonAt || !bytes.subarray(0, magic.byteLength).equals(magic)) {
    throw invalid(name, `it is no ${called}`);
  }
  const jsonBytes = bytes.readUInt32LE(magic.byteLength);
  if (jsonBytes > maxHeaderBytes || jsonAt + jsonBytes > bytes.byteLength) throw invalid(name, 'it ends in its header');
  let json: unknown;
  try {
    json = JSON.parse(bytes.subarray(jsonAt, jsonAt + jsonBytes).toString('utf8'));
  } catch (error) {
    throw invalid(name, 'its header is no JSON', error);
  }
  const parsed = header.safeParse(json);
  if (!parsed.success) throw invalid(name, z.prettifyError(parsed.error), parsed.error);
  if (parsed.data.format !== formatVersion) {
    throw invalid(name, `it has format ${parsed.data.format}, and only ${formatVersion} is known here`);
  }
  return { header: parsed.data, headBytes: jsonAt + jsonBytes };
}

/**
 * Opens a manifest, or another thing that was sealed in one piece, and gives its content.
 * @param name its key, for messages
 * @throws PodferryError MANIFEST_INVALID (also: of another instance) | KEY_WRONG | OBJECT_CORRUPT
 */
export function openManifest(
  bytes: Buffer,
  sealing: Sealing,
  name: string,
  kind: EnvelopeKind = manifestKind,
): { readonly header: ManifestHeader; readonly content: Buffer } {
  const { header: clear, headBytes } = readHeader(bytes, name, kind);
  if (clear.instance !== sealing.instance) {
    throw invalid(name, `it is of instance ${clear.instance}, not of ${sealing.instance}`);
  }
  if (clear.keyId !== sealing.id || clear.keyCheck !== keyCheck(sealing)) {
    const detail = { key: name, sealedWith: clear.keyId, given: sealing.id };
    const message = `${name} was sealed with another key: it names key ${clear.keyId} (${clear.keyCheck}), given is ${sealing.id} (${keyCheck(sealing)})`;
    throw new PodferryError('KEY_WRONG', message, detail);
  }
  const content = Buffer.alloc(clear.bytes);
  const key = keyOf(kind.purpose, sealing, Buffer.from(clear.salt, 'hex'), bytes.subarray(0, headBytes));
  if (!openFrame(key, 0, bytes.subarray(headBytes), clear.bytes, content)) {
    throw new PodferryError('OBJECT_CORRUPT', `${name} is not what was stored`, { key: name });
  }
  return { header: clear, content };
}
