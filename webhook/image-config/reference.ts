import { PodferryError } from '../../proto/errors.ts';

/** An image as containers name it, with what Docker's short forms leave out written out. */
export interface Reference {
  /** host or host:port, as in the name: `docker.io`, `registry.shop:5000` */
  readonly registry: string;
  readonly repository: string;
  /** What is pulled: the digest when there is one, else the tag. */
  readonly version: { readonly digest: string } | { readonly tag: string };
}

const hub = 'docker.io';
const longest = 512;

/** @see distribution/reference regexp.go: the grammar */
const repositoryPattern = /^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^\w[\w.-]{0,127}$/;
const digestPattern = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;
const registryPattern = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?$/;

/**
 * Reads an image's name by Docker's rules: no host means docker.io (and there no folder means `library/`), no tag means
 * `latest`, and a digest counts more than a tag.
 * @throws PodferryError IMAGE_INVALID
 */
export function parseReference(image: string): Reference {
  const at = image.indexOf('@');
  const digest = at < 0 ? undefined : image.slice(at + 1);
  const named = at < 0 ? image : image.slice(0, at);
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1);
  const tag = colon < 0 ? 'latest' : named.slice(colon + 1);
  const { registry, repository } = splitRegistry(colon < 0 ? named : named.slice(0, colon));
  const isSound =
    image.length <= longest &&
    registryPattern.test(registry) &&
    repositoryPattern.test(repository) &&
    tagPattern.test(tag) &&
    (digest === undefined || digestPattern.test(digest));
  if (!isSound) throw new PodferryError('IMAGE_INVALID', `${JSON.stringify(image.slice(0, 80))} names no image`);
  return { registry, repository, version: digest === undefined ? { tag } : { digest } };
}

/** The first part is a host when it could be no folder of Docker Hub. */
function splitRegistry(name: string): { readonly registry: string; readonly repository: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  const isHost = /[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
  const registry = isHost ? first.replace(/^index\.docker\.io$/, hub) : hub;
  const path = isHost ? name.slice(slash + 1) : name;
  return { registry, repository: registry === hub && !path.includes('/') ? `library/${path}` : path };
}

/** The whole name: the same for every spelling of one image. */
export function nameOf({ registry, repository, version }: Reference): string {
  return `${registry}/${repository}${'digest' in version ? `@${version.digest}` : `:${version.tag}`}`;
}
