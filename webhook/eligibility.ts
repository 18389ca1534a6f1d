import { annotations, containers, paths, servingGate, volumes } from '../proto/names.ts';
import type { Container, Deployment, PodTemplate } from './pod-template.ts';
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

/** Reads the annotations of a Deployment and its template. A value that cannot be meant switches the injection off. */
export function optIn(deployment: Deployment, template: PodTemplate): OptIn {
  const read = (name: string) => template.metadata?.annotations?.[name] ?? deployment.metadata.annotations?.[name];
  const enabled = read(annotations.enabled);
  if (enabled !== undefined && enabled !== 'true' && enabled !== 'false') {
    const message = `${annotations.enabled} is ${JSON.stringify(enabled)}, neither "true" nor "false"`;
    return { options: { enabled: false }, invalid: { code: 'ANNOTATION_INVALID', message } };
  }
  const agentImage = read(annotations.agentImage);
  if (agentImage !== undefined && !/^[\w.:@/-]{1,512}$/.test(agentImage)) {
    const message = `${annotations.agentImage} is ${JSON.stringify(agentImage)}, which names no image`;
    return { options: { enabled: false }, invalid: { code: 'ANNOTATION_INVALID', message } };
  }
  const remedies = read(annotations.remedies);
  if (remedies !== undefined && remedies !== 'auto' && remedies !== 'none') {
    const message = `${annotations.remedies} is ${JSON.stringify(remedies)}, neither "auto" nor "none"`;
    return { options: { enabled: false }, invalid: { code: 'ANNOTATION_INVALID', message } };
  }
  const reinject = deployment.metadata.annotations?.[annotations.reinject];
  const chosen = { container: read(annotations.container), agentImage, reinject };
  return { options: { enabled: enabled === 'true', ...chosen, ...(remedies === 'auto' ? { remedies } : {}) } };
}

/** Why the pods of this template cannot be moved at all; undefined when they can. */
export function obstacleIn({ spec }: PodTemplate): Skip | undefined {
  if (spec.hostPID === true) return { code: 'HOST_PID', message: 'the pod has hostPID: true' };
  const os = spec.os?.name ?? spec.nodeSelector?.['kubernetes.io/os'] ?? spec.nodeSelector?.['beta.kubernetes.io/os'];
  if (os === 'windows') return { code: 'WINDOWS_POD', message: 'the pod is for Windows nodes' };
  if (spec.shareProcessNamespace === false) {
    return { code: 'PROCESS_NAMESPACE_PRIVATE', message: 'the pod has shareProcessNamespace: false' };
  }
  const taken = takenName(spec);
  return taken === undefined ? undefined : { code: 'NAME_TAKEN', message: `the pod already has ${taken}` };
}

function takenName(spec: PodTemplate['spec']): string | undefined {
  const ownContainers: readonly string[] = Object.values(containers);
  const ownVolumes: readonly string[] = Object.values(volumes);
  const all = [...spec.containers, ...(spec.initContainers ?? [])];
  const container = all.find(({ name }) => ownContainers.includes(name));
  if (container !== undefined) return `a container ${container.name}`;
  const volume = spec.volumes?.find(({ name }) => ownVolumes.includes(name));
  if (volume !== undefined) return `a volume ${volume.name}`;
  const mount = all
    .flatMap((one) => one.volumeMounts ?? [])
    .find(
      ({ name, mountPath }) =>
        ownVolumes.includes(name) || mountPath === paths.shared || mountPath.startsWith(`${paths.shared}/`),
    );
  if (mount !== undefined) return `a mount of ${mount.name} at ${mount.mountPath}`;
  if (spec.readinessGates?.some(({ conditionType }) => conditionType === servingGate)) {
    return `a readiness gate ${servingGate}`;
  }
  return undefined;
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
