import { annotations, paths } from '../proto/names.ts';
import { faultsOf, type Place } from './annotations.ts';
import { type Container, type Deployment, isDeployment, isPodTemplate, type PodTemplate } from './pod-template.ts';
import type { Skip } from './skip.ts';

/** What the user asks for. The pod template's annotation wins over the Deployment's. */
export interface Options {
  readonly enabled: boolean;
  readonly container?: string | undefined;
  readonly agentImage?: string | undefined;
  readonly remedies?: 'auto' | undefined;
  /** Another value than before asks for an injection even when nothing else has changed. */
  readonly reinject?: string | undefined;
}

export type OptIn = { readonly options: Options; readonly invalid?: Skip };

/** Containers that other injectors add; none of them is the application. */
const foreignSidecars: ReadonlySet<string> = new Set([
  'istio-proxy',
  'linkerd-proxy',
  'vault-agent',
  'consul-dataplane',
  'consul-connect-envoy-sidecar',
  'kuma-sidecar',
  'daprd',
  'otc-container',
  'opentelemetry-auto-instrumentation',
  'gke-gcsfuse-sidecar',
]);

/**
 * Reads the annotations of a Deployment and its template. A value that cannot be meant switches the injection off, if it
 * decides about it (webhook/annotations.ts).
 */
export function optIn(deployment: Deployment, template: PodTemplate): OptIn {
  const { workload, pods } = placesOf(deployment, template);
  const all = { ...workload, ...pods.present };
  const enabled = all[annotations.enabled];
  const faults = [...faultsOf(workload, 'workload'), ...faultsOf(pods.present, pods.place)];
  const fault = faults.find(({ consequence, name }) => {
    return consequence === 'skip' && (enabled === 'true' || name === annotations.enabled);
  });
  if (fault !== undefined)
    return { options: { enabled: false }, invalid: { code: fault.code, message: fault.message } };
  const { [annotations.container]: container, [annotations.agentImage]: agentImage } = all;
  const reinject = deployment.metadata.annotations?.[annotations.reinject];
  const remedies = all[annotations.remedies] === 'auto' ? ({ remedies: 'auto' } as const) : {};
  return { options: { enabled: enabled === 'true', container, agentImage, reinject, ...remedies } };
}

/**
 * What is odd about a workload and yet does not keep it from being injected: for warnings. Of one that did not opt in only
 * names that look misspelt, since one of them may have been meant to.
 */
export function cautionsOf(object: unknown): readonly Skip[] {
  if (!isDeployment(object) || !isPodTemplate(object.spec.template)) return [];
  const { template } = object.spec;
  const { workload, pods } = placesOf(object, template);
  const enabled = { ...workload, ...pods.present }[annotations.enabled];
  if (enabled === 'false') return [];
  return [...faultsOf(workload, 'workload'), ...faultsOf(pods.present, pods.place)]
    .filter(({ code, consequence }) => {
      return consequence === 'warning' && (enabled === 'true' || code === 'ANNOTATION_UNKNOWN');
    })
    .map(({ code, message }): Skip => ({ code, message }));
}

/** The annotations of the two places; of the workload's own only those that its template does not overrule. */
function placesOf(deployment: Deployment, template: PodTemplate) {
  const present = template.metadata?.annotations ?? {};
  const workload = Object.fromEntries(
    Object.entries(deployment.metadata.annotations ?? {}).filter(([name]) => !Object.hasOwn(present, name)),
  );
  const place: Place = deployment.spec.template === template ? 'template' : 'pod';
  return { workload, pods: { present, place } };
}

export type Choice =
  { readonly chosen: true; readonly container: Container } | { readonly chosen: false; readonly skip: Skip };

/** The container whose processes move: the named one, else the only one that no other injector owns. */
export function chooseContainer({ spec }: PodTemplate, named: string | undefined): Choice {
  const names = (list: readonly Container[]) => list.map(({ name }) => name).join(', ');
  const own = spec.containers.filter(({ name }) => !foreignSidecars.has(name));
  const candidates = named === undefined ? own : spec.containers.filter(({ name }) => name === named);
  const [container, ...others] = candidates;
  if (container === undefined) {
    return skipped('CONTAINER_UNKNOWN', `no container ${named ?? 'of yours'} among ${names(spec.containers)}`);
  }
  if (others.length > 0) {
    const message = `which of the containers ${names(candidates)} should move? annotate ${annotations.container}`;
    return skipped('CONTAINER_AMBIGUOUS', message);
  }
  if (container.command?.[0] === paths.placeholder) {
    return skipped('COMMAND_UNKNOWN', `the original command of the container ${container.name} is lost`);
  }
  return { chosen: true, container };
}

function skipped(code: Skip['code'], message: string): Choice {
  return { chosen: false, skip: { code, message } };
}
