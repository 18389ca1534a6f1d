import type { Descriptor, Registry } from './registry.ts';

/** Of an image's configuration, as far as it matters to what is started. */
export interface Config {
  readonly Entrypoint?: readonly string[] | null;
  readonly Cmd?: readonly string[] | null;
  readonly User?: string;
  readonly WorkingDir?: string;
  readonly Env?: readonly string[];
  /** As `docker build` leaves it for a shell form on some platforms. */
  readonly ArgsEscaped?: boolean;
}

export const oci = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
} as const;
type Types = { readonly [K in keyof typeof oci]: string };
export const docker: Types = {
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  index: 'application/vnd.docker.distribution.manifest.list.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: 'application/vnd.docker.image.rootfs.diff.tar',
};
const types: Types = oci;

/** Pushes an image of one layer, which nobody here ever unpacks. */
export async function pushImage(
  registry: Registry,
  repository: string,
  version: string,
  config: Config,
  { kind = types, architecture = 'amd64' } = {},
): Promise<Descriptor> {
  const layer = await registry.pushBlob(repository, kind.layer, 'x'.repeat(1024));
  const content = { architecture, os: 'linux', config, rootfs: { type: 'layers', diff_ids: [layer.digest] } };
  const blob = await registry.pushBlob(repository, kind.config, JSON.stringify(content));
  const manifest = { schemaVersion: 2, mediaType: kind.manifest, config: blob, layers: [layer] };
  const descriptor = await registry.pushManifest(repository, version, kind.manifest, manifest);
  return { ...descriptor, platform: { os: 'linux', architecture } };
}

export async function pushIndex(
  registry: Registry,
  repository: string,
  version: string,
  manifests: readonly Descriptor[],
  kind = types,
): Promise<Descriptor> {
  return registry.pushManifest(repository, version, kind.index, {
    schemaVersion: 2,
    mediaType: kind.index,
    manifests,
  });
}
