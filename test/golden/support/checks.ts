import { expect } from 'chai';
import { applyPatch, type Operation } from 'rfc6902';
import { annotations, containers, paths, servingGate, volumes } from '../../../proto/names.ts';
import { review } from '../../../webhook/admission.ts';
import { eject } from '../../../webhook/eject.ts';
import { isPodTemplate, type PodTemplate } from '../../../webhook/pod-template.ts';
import { patchIn, reviewOf, settings } from '../../unit/webhook/support/samples.ts';

export interface Deployment {
  readonly kind?: string;
  readonly metadata: { annotations?: Record<string, string> };
  readonly spec: { readonly template: { readonly metadata?: { annotations?: Record<string, string> } } };
}

const own: { readonly containers: readonly string[]; readonly volumes: readonly string[] } = {
  containers: Object.values(containers),
  volumes: Object.values(volumes),
};

/** The object with the operations applied; none may fail. */
export function patched(object: unknown, operations: readonly Operation[]): Deployment {
  const copy = structuredClone(object);
  const failures = applyPatch(copy, structuredClone([...operations])).filter((result) => result !== null);
  expect(failures).to.deep.equal([]);
  return copy as Deployment;
}

export function withoutOptIn(deployment: Deployment): Deployment {
  const copy = structuredClone(deployment);
  delete copy.metadata.annotations?.[annotations.enabled];
  if (copy.kind !== 'Pod') delete copy.spec.template.metadata?.annotations?.[annotations.enabled];
  return copy;
}

const ownPaths: readonly RegExp[] = [
  /^\/spec\/template\/metadata(\/annotations(\/migration\.io~1(injected|original))?)?$/,
  /^\/spec\/template\/spec\/(shareProcessNamespace|(readinessGates|volumes|initContainers)(\/\d+)?)$/,
  // What is inside of ours, for templates that hold us already.
  /^\/spec\/template\/spec\/(volumes|initContainers)\/\d+\/.+$/,
  /^\/spec\/template\/spec\/containers\/\d+(\/(command|args|startupProbe|env(\/\d+)?|volumeMounts(\/\d+)?)(\/.+)?)?$/,
];

/** No operation leads outside of what is ours, and without what is ours nothing differs: not a field, not an order. */
export function expectOnlyOurs(object: Deployment, patch: readonly Operation[], after: Deployment): void {
  // A pod is checked as the template that it is.
  if (object.kind === 'Pod') {
    const inTemplate = patch.map((operation) => ({ ...operation, path: `/spec/template${operation.path}` }));
    return expectOnlyOurs(templateOf(object), inTemplate, templateOf(after));
  }
  const allowed = [...ownPaths, ...inOurContainers(after)];
  for (const { path } of patch) expect(allowed.some((pattern) => pattern.test(path))).to.equal(true, path);
  const moved = [...movedIn(after), ...movedIn(object)];
  expect(withoutOurs(after, moved)).to.deep.equal(withoutOurs(object, moved));
}

function templateOf(pod: Deployment): Deployment {
  return { metadata: {}, spec: { template: pod } };
}

function inOurContainers({ spec: { template } }: Deployment): readonly RegExp[] {
  const list = isPodTemplate(template) ? template.spec.containers : [];
  return list.flatMap(({ name }, index) =>
    own.containers.includes(name) ? [new RegExp(`^/spec/template/spec/containers/${index}/`)] : [],
  );
}

/** Containers of the user's that have our files, or the command that lies in them. */
function movedIn({ spec: { template } }: Deployment): readonly string[] {
  const list = isPodTemplate(template) ? template.spec.containers : [];
  return list
    .filter(({ command, volumeMounts = [] }) => {
      return command?.[0] === paths.placeholder || volumeMounts.some(({ name }) => own.volumes.includes(name));
    })
    .map(({ name }) => name);
}

/** Written apart from webhook/eject.ts, and cruder: without all fields that we may change in a container that moves. */
function withoutOurs(deployment: Deployment, moved: readonly string[]): unknown {
  const given: unknown = deployment.spec.template;
  if (!isPodTemplate(given)) return deployment;
  const spec = omitted(given.spec, 'shareProcessNamespace');
  const isRemedied = [deployment, given].some(
    ({ metadata }) => metadata?.annotations?.[annotations.remedies] === 'auto',
  );
  const changed = ['command', 'args', 'startupProbe', ...(isRemedied ? ['env'] : [])];
  const theirs = <T extends { name: string }>(list: readonly T[] | undefined, ours: readonly string[]) =>
    (list ?? []).filter(({ name }) => !ours.includes(name));
  const present = omitted(given.metadata?.annotations ?? {}, annotations.injected, annotations.original);
  return {
    ...deployment,
    spec: {
      ...deployment.spec,
      template: {
        ...given,
        metadata: { ...given.metadata, annotations: present },
        spec: {
          ...spec,
          containers: theirs(given.spec.containers, own.containers).map((container) => ({
            ...(moved.includes(container.name) ? omitted(container, ...changed) : container),
            volumeMounts: theirs(container.volumeMounts, own.volumes),
          })),
          initContainers: theirs(given.spec.initContainers, own.containers),
          volumes: theirs(given.spec.volumes, own.volumes),
          readinessGates: given.spec.readinessGates?.filter(({ conditionType }) => conditionType !== servingGate) ?? [],
        },
      },
    },
  };
}

function omitted(object: Readonly<Record<string, unknown>>, ...keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)));
}

/** What the user's template is without us. */
export function ejected(deployment: Deployment): PodTemplate | undefined {
  const { template }: { template: unknown } = deployment.spec;
  if (!isPodTemplate(template)) return undefined;
  const ejection = eject(template);
  return ejection.ejected ? ejection.template : undefined;
}

export function operationsFor(object: unknown, before?: unknown): readonly Operation[] {
  return patchIn(review(reviewOf(object, before), settings));
}
