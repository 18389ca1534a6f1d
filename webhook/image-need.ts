import type { ImageCommand } from '../proto/injection.ts';
import type { PullSecretNames } from './image-config/credentials.ts';
import type { Container, PodTemplate } from './pod-template.ts';
import type { Skip } from './skip.ts';

/** An image, and as what a pod pulls it. */
export interface Image {
  /** As the container names it. */
  readonly image: string;
  /** GOARCH: of an index the image for linux and this. */
  readonly architecture: string;
  /** Names of the pod's pull secrets. */
  readonly secrets: readonly string[];
  readonly serviceAccount: string;
}

/** What has to be known before a container without a `command` can be injected. */
export interface ImageNeed extends Image, PullSecretNames {}

/** What came of a lookup; the injection is told, it never asks. */
export type ImageAnswer =
  { readonly known: true; readonly command: ImageCommand } | { readonly known: false; readonly skip: Skip };

const defaultArchitecture = 'amd64';

export function imageOf(container: Container, { spec }: PodTemplate): Image {
  const { nodeSelector } = spec;
  return {
    image: container.image ?? '',
    architecture:
      nodeSelector?.['kubernetes.io/arch'] ?? nodeSelector?.['beta.kubernetes.io/arch'] ?? defaultArchitecture,
    secrets: (spec.imagePullSecrets ?? []).flatMap(({ name }) => name ?? []),
    serviceAccount: spec.serviceAccountName ?? 'default',
  };
}

/**
 * Whether there is anything to start, as container runtimes decide it: `command` hides the image's ENTRYPOINT and CMD,
 * `args` its CMD; an empty list counts as none.
 * @see containerd pkg/cri/server/container_create.go: withProcessArgs
 */
export function startsSomething(container: Container, image: ImageCommand): boolean {
  if (hasCommand(container)) return true;
  return [...image.entrypoint, ...(container.args ?? []), ...image.cmd].length > 0;
}

/** Whether the image does not matter. */
export function hasCommand({ command }: Container): boolean {
  return command !== undefined && command.length > 0;
}
