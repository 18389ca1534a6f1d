import { createHash } from 'node:crypto';
import { z } from 'zod';
import { PodferryError } from '../../proto/errors.ts';
import type { ImageCommand } from '../../proto/injection.ts';
import type { BoundedMap } from './bounded-map.ts';
import { jsonOf } from './http-get.ts';
import type { Reference } from './reference.ts';
import type { Session } from './session.ts';

const mediaTypes = {
  indexes: [
    'application/vnd.oci.image.index.v1+json',
    'application/vnd.docker.distribution.manifest.list.v2+json',
  ] as readonly string[],
  manifests: [
    'application/vnd.oci.image.manifest.v1+json',
    'application/vnd.docker.distribution.manifest.v2+json',
  ] as readonly string[],
};
const accepted = [...mediaTypes.indexes, ...mediaTypes.manifests].join(', ');

/** The least that registries must accept of a manifest, which is the most that they do. */
const longestManifest = 4 * 1024 * 1024;
const longestConfig = 8 * 1024 * 1024;
/** All annotations of an object may be 256 KiB, and the words are put into one. */
const longestWords = 32 * 1024;
const deepestIndex = 2;

const Descriptor = z.looseObject({
  mediaType: z.string().optional(),
  digest: z.string(),
  platform: z.looseObject({ os: z.string(), architecture: z.string() }).optional(),
});
const Manifest = z.looseObject({
  mediaType: z.string().optional(),
  config: Descriptor.optional(),
  manifests: z.array(Descriptor).optional(),
});
const words = z.array(z.string()).nullish();
const ImageConfig = z.looseObject({
  os: z.string().optional(),
  config: z.looseObject({ Entrypoint: words, Cmd: words }).nullish(),
});

export interface ImageRead {
  readonly reference: Reference;
  readonly architecture: string;
  readonly session: Session;
  /** By the digest of the configuration's blob; it is the same wherever it comes from. */
  readonly configs: BoundedMap<ImageCommand>;
}

/**
 * What an image starts, from its manifest and its configuration. Everything that is named by a digest is checked by it.
 * @throws PodferryError IMAGE_UNREACHABLE, IMAGE_DENIED, IMAGE_MISSING, IMAGE_INVALID
 * @see opencontainers/image-spec manifest.md, image-index.md, config.md; Docker's are the same but for their media types
 */
export async function readImage({ reference, architecture, session, configs }: ImageRead): Promise<ImageCommand> {
  const { version } = reference;
  let wanted = 'digest' in version ? version.digest : version.tag;
  for (let depth = 0; depth <= deepestIndex; depth += 1) {
    const manifest = await readManifest(session, wanted);
    if (manifest.manifests === undefined) return readConfig(session, manifest.config?.digest ?? '', configs);
    wanted = platformIn(manifest.manifests, architecture);
  }
  throw new PodferryError('IMAGE_INVALID', 'the indexes of the image lead to one another');
}

async function readManifest(session: Session, wanted: string): Promise<z.infer<typeof Manifest>> {
  const { body, headers } = await session.get(`manifests/${wanted}`, accepted, longestManifest);
  checkDigest(wanted, body);
  const parsed = Manifest.safeParse(jsonOf(body));
  const type = parsed.data?.mediaType ?? headers['content-type']?.split(';')[0]?.trim() ?? '';
  const isKnown = mediaTypes.indexes.includes(type) || mediaTypes.manifests.includes(type);
  if (!parsed.success || !isKnown) {
    throw new PodferryError('IMAGE_INVALID', `the manifest of the image is of the type ${type.slice(0, 80)}`);
  }
  return parsed.data;
}

function platformIn(manifests: readonly z.infer<typeof Descriptor>[], architecture: string): string {
  const found = manifests.find(({ platform }) => platform?.os === 'linux' && platform.architecture === architecture);
  if (found !== undefined && isDigest(found.digest)) return found.digest;
  throw new PodferryError('IMAGE_INVALID', `the image has nothing for linux/${architecture}`);
}

async function readConfig(session: Session, digest: string, configs: BoundedMap<ImageCommand>): Promise<ImageCommand> {
  const known = configs.get(digest);
  if (known !== undefined) return known;
  if (!isDigest(digest)) throw new PodferryError('IMAGE_INVALID', 'the manifest of the image names no configuration');
  const { body } = await session.get(`blobs/${digest}`, '*/*', longestConfig);
  checkDigest(digest, body);
  const parsed = ImageConfig.safeParse(jsonOf(body));
  if (!parsed.success) throw new PodferryError('IMAGE_INVALID', 'the configuration of the image is none');
  const { os, config } = parsed.data;
  if (os !== undefined && os !== '' && os !== 'linux') {
    throw new PodferryError('IMAGE_INVALID', `the image is for ${os.slice(0, 20)}`);
  }
  const entrypoint = config?.Entrypoint ?? [];
  // Runtimes take one empty word for none: it is how a derived image takes the ENTRYPOINT back.
  const isTakenBack = entrypoint.length === 1 && entrypoint[0] === '';
  const command = { entrypoint: isTakenBack ? [] : entrypoint, cmd: config?.Cmd ?? [] };
  if (Buffer.byteLength(JSON.stringify(command)) > longestWords) {
    throw new PodferryError('IMAGE_INVALID', `the command of the image is longer than ${longestWords} bytes`);
  }
  configs.set(digest, command);
  return command;
}

function isDigest(text: string): boolean {
  return /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(text);
}

/** A tag promises nothing about the content. */
function checkDigest(wanted: string, body: Buffer): void {
  const [algorithm, expected] = wanted.split(':');
  if (expected === undefined || algorithm === undefined) return;
  if (!isDigest(wanted)) throw new PodferryError('IMAGE_INVALID', `${wanted.slice(0, 80)} is no digest`);
  if (createHash(algorithm).update(body).digest('hex') === expected) return;
  throw new PodferryError('IMAGE_INVALID', `what the registry sent is not ${wanted}`);
}
