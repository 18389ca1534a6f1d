import { posix } from 'node:path';
import { containers, paths, servingGate, volumes } from '../proto/names.ts';
import { isJsonObject, type JsonObject, type PodTemplate } from './pod-template.ts';
import type { Skip } from './skip.ts';

type Obstacle = (spec: PodTemplate['spec']) => Skip | undefined;

/** In the order in which they are named when there are several. */
const obstacles: readonly Obstacle[] = [
  ({ hostPID }) => (hostPID === true ? { code: 'HOST_PID', message: 'the pod has hostPID: true' } : undefined),
  (spec) => {
    const os = spec.os?.name ?? spec.nodeSelector?.['kubernetes.io/os'] ?? spec.nodeSelector?.['beta.kubernetes.io/os'];
    return os === 'windows' ? { code: 'WINDOWS_POD', message: 'the pod is for Windows nodes' } : undefined;
  },
  (spec) => {
    const owner = [spec, ...spec.containers, ...(spec.initContainers ?? [])].find(hasWindowsOptions);
    if (owner === undefined) return undefined;
    const where = typeof owner.name === 'string' ? `container ${owner.name}` : 'pod';
    return { code: 'WINDOWS_POD', message: `the ${where} has securityContext.windowsOptions` };
  },
  ({ hostUsers }) =>
    hostUsers === false ? { code: 'USER_NAMESPACE', message: 'the pod has hostUsers: false' } : undefined,
  ({ shareProcessNamespace }) =>
    shareProcessNamespace === false
      ? { code: 'PROCESS_NAMESPACE_PRIVATE', message: 'the pod has shareProcessNamespace: false' }
      : undefined,
  (spec) => {
    const taken = takenName(spec);
    return taken === undefined ? undefined : { code: 'NAME_TAKEN', message: `the pod already has ${taken}` };
  },
];

/** Why the pods of this template cannot be moved at all; undefined when they can. */
export function obstacleIn({ spec }: PodTemplate): Skip | undefined {
  for (const obstacle of obstacles) {
    const skip = obstacle(spec);
    if (skip !== undefined) return skip;
  }
  return undefined;
}

function hasWindowsOptions({ securityContext }: JsonObject): boolean {
  return isJsonObject(securityContext) && isJsonObject(securityContext['windowsOptions']);
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
    .find(({ name, mountPath }) => ownVolumes.includes(name) || isInTheWay(mountPath));
  if (mount !== undefined) return `a mount of ${mount.name} at ${mount.mountPath}`;
  if (spec.readinessGates?.some(({ conditionType }) => conditionType === servingGate)) {
    return `a readiness gate ${servingGate}`;
  }
  return undefined;
}

/** Whether a mount at the path hides ours or lies in it. The kubelet reads a relative path from the root. */
function isInTheWay(mountPath: string): boolean {
  const path = posix.resolve('/', mountPath);
  return path === '/' || path === paths.shared || path.startsWith(`${paths.shared}/`);
}
