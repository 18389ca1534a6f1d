import { annotations, containers, paths, servingGate, volumes } from '../proto/names.ts';
import { type ImageCommand, Original } from '../proto/injection.ts';
import { type Container, type PodTemplate, isJsonObject, without } from './pod-template.ts';
import { withoutRemedies } from './remedies.ts';
import type { Skip } from './skip.ts';

export type Ejection =
  { readonly ejected: true; readonly template: PodTemplate } | { readonly ejected: false; readonly skip: Skip };

const ownVolumes: readonly string[] = Object.values(volumes);
const ownContainers: readonly string[] = Object.values(containers);

/** Stands in for a lost record: what is empty without our items is taken to have been absent. */
const unrecorded: Original = {
  container: '',
  created: ['metadata', 'annotations', 'initContainers', 'volumes', 'readinessGates', 'volumeMounts'],
};

/** Whether a template carries our mark, whatever is left of the rest. */
export function isInjected(template: PodTemplate): boolean {
  const present = template.metadata?.annotations ?? {};
  return Object.hasOwn(present, annotations.injected) || Object.hasOwn(present, annotations.original);
}

/** Whether everything the injection puts in is there: a webhook that was down during an update leaves halves behind. */
export function isWhole(template: PodTemplate): boolean {
  const { spec } = template;
  const names = (list: readonly { readonly name: string }[] | undefined) => new Set(list?.map(({ name }) => name));
  const running = names(spec.containers);
  const present = names(spec.volumes);
  const name = originalOf(template)?.container;
  const initial = names(spec.initContainers);
  return (
    (running.has(containers.agent) || initial.has(containers.agent)) &&
    initial.has(containers.booster) &&
    ownVolumes.every((volume) => present.has(volume)) &&
    spec.shareProcessNamespace === true &&
    spec.readinessGates?.some(({ conditionType }) => conditionType === servingGate) === true &&
    spec.containers.some(
      (container) =>
        container.name === name &&
        isPlaceholder(container) &&
        container.volumeMounts?.some((mount) => mount.name === volumes.shared) === true,
    )
  );
}

/**
 * Takes the injection back: `eject(inject(x))` equals x, including which keys are absent. Works on what the API server
 * has defaulted and on what people have edited since; a command they set by hand is theirs and stays.
 * A template without our mark is returned as it is. Unknown fields are never touched.
 * @returns a skip ANNOTATION_INVALID when the original command is needed and its record is unreadable
 */
export function eject(template: PodTemplate): Ejection {
  if (!isInjected(template)) return { ejected: true, template };
  const original = originalOf(template);
  if (original === undefined && template.spec.containers.some(isPlaceholder)) {
    const message = `${annotations.original} is unreadable, so the command cannot be restored: set the container's command again`;
    return { ejected: false, skip: { code: 'ANNOTATION_INVALID', message } };
  }
  const taken = original ?? unrecorded;
  return { ejected: true, template: { ...withoutMarks(template, taken), spec: specOf(template.spec, taken) } };
}

/** What an earlier injection found out about the image of the container that moves; undefined without one of this name. */
export function recordedImage(template: PodTemplate, name: string): ImageCommand | undefined {
  const image = originalOf(template)?.image;
  return image?.name === name ? { entrypoint: image.entrypoint, cmd: image.cmd } : undefined;
}

function originalOf(template: PodTemplate): Original | undefined {
  const text = template.metadata?.annotations?.[annotations.original];
  if (text === undefined) return undefined;
  try {
    return Original.safeParse(JSON.parse(text)).data;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function withoutMarks(template: PodTemplate, { created }: Original): PodTemplate {
  if (template.metadata?.annotations === undefined) return template;
  const left = without(template.metadata.annotations, annotations.injected, annotations.original);
  const gone = Object.keys(left).length === 0 && created.includes('annotations');
  const metadata = gone ? without(template.metadata, 'annotations') : { ...template.metadata, annotations: left };
  const empty = Object.keys(metadata).length === 0 && created.includes('metadata');
  return empty ? without(template, 'metadata') : { ...template, metadata };
}

function specOf(spec: PodTemplate['spec'], original: Original): PodTemplate['spec'] {
  const chosen =
    spec.containers.find((container) => container.name === original.container && isPlaceholder(container)) ??
    spec.containers.find(isPlaceholder) ??
    spec.containers.find((container) => container.name === original.container);
  const clean: PodTemplate['spec'] = {
    ...spec,
    containers: spec.containers
      .filter(({ name }) => name !== containers.agent)
      .map((container) => (container === chosen ? theirs(container, original) : withoutOwn(container, original))),
    ...kept('initContainers', spec.initContainers, (one) => !ownContainers.includes(one.name)),
    ...kept('volumes', spec.volumes, (one) => !ownVolumes.includes(one.name)),
    ...kept('readinessGates', spec.readinessGates, (one) => one.conditionType !== servingGate),
  };
  const initContainers = clean.initContainers?.map((container) => withoutOwn(container, original));
  const dropped = ['initContainers', 'volumes', 'readinessGates'].filter(
    (key) => original.created.includes(key) && isEmptyList(clean[key]),
  );
  // A value other than the one we set was put there by somebody since.
  if (original.shareProcessNamespace === undefined && spec.shareProcessNamespace === true) {
    dropped.push('shareProcessNamespace');
  }
  return without(initContainers === undefined ? clean : { ...clean, initContainers }, ...dropped);
}

/** The list under its key without our items; the list itself when it holds none, so that nothing differs. */
function kept<T>(key: string, list: readonly T[] | undefined, isTheirs: (item: T) => boolean): Record<string, unknown> {
  if (list === undefined) return {};
  return { [key]: list.every(isTheirs) ? list : list.filter(isTheirs) };
}

/** Also what was copied to a container that was never chosen: without its volume it would keep the pod from starting. */
function withoutOwn(container: Container, original: Original): Container {
  const unmounted = withoutMounts(container, original.created);
  if (!isOwnProbe(unmounted['startupProbe'])) return unmounted;
  return { ...without(unmounted, 'startupProbe'), ...pick(original, 'startupProbe') };
}

/** The chosen container as it was. */
function theirs(container: Container, original: Original): Container {
  return withCommand(withoutRemedies(withoutOwn(container, original), original), original);
}

function withCommand(container: Container, original: Original): Container {
  if (!isPlaceholder(container)) return container;
  const args = container.args === undefined ? pick(original, 'args') : { args: container.args };
  return { ...without(container, 'command', 'args'), ...pick(original, 'command'), ...args };
}

function pick(original: Original, key: 'command' | 'args' | 'startupProbe'): Record<string, unknown> {
  return Object.hasOwn(original, key) ? { [key]: original[key] } : {};
}

function withoutMounts(container: Container, created: readonly string[]): Container {
  const mounts = container.volumeMounts;
  if (mounts === undefined || !mounts.some(({ name }) => ownVolumes.includes(name))) return container;
  const left = mounts.filter(({ name }) => !ownVolumes.includes(name));
  if (left.length === 0 && created.includes('volumeMounts')) return without(container, 'volumeMounts');
  return { ...container, volumeMounts: left };
}

function isPlaceholder(container: Container): boolean {
  return container.command?.[0] === paths.placeholder;
}

function isOwnProbe(probe: unknown): boolean {
  if (!isJsonObject(probe) || !isJsonObject(probe['exec'])) return false;
  const { command } = probe['exec'];
  return Array.isArray(command) && command[0] === paths.placeholder;
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}
