import { agentEnv, annotations, containers, paths, tokenAudience, volumes } from '../proto/names.ts';
import type { Container, JsonObject, PodTemplate } from './pod-template.ts';
import type { Settings } from './settings.ts';
import { quantityInNanos } from '../proto/quantity.ts';
import { isJsonObject } from './pod-template.ts';

/**
 * What the injection adds to a pod. Every field that the API server would default is written out, so that injecting the
 * stored object again changes nothing (kubernetes pkg/apis/core/v1/defaults.go); fields whose zero value the API server
 * drops are left out for the same reason.
 */
const defaulted = {
  imagePullPolicy: 'IfNotPresent',
  terminationMessagePath: '/dev/termination-log',
  terminationMessagePolicy: 'File',
} as const;

const slimRequests = { requests: { cpu: '10m', memory: '64Mi' } } as const;

/** Bits of 0644, the default mode of projected files. */
const projectedMode = 420;

const tokenLifeSeconds = 3600;

/**
 * A target waits for its process as long as its Migration lasts, so the kubelet must not lose patience: a week of
 * seconds. The probe answers from memory; the generous timeout is for a node that is short of CPU.
 */
const startup = { periodSeconds: 1, timeoutSeconds: 5, successThreshold: 1, failureThreshold: 604_800 } as const;

export interface AgentFacts {
  readonly image: string;
  readonly resources: JsonObject;
  readonly dataDirs: readonly string[];
  /** The pod's restart policy, when the agent has to end with the application for the pod to complete. */
  readonly leavesWith: string | undefined;
}

/** Runs first: copies the static placeholder to the shared volume. Needs no privilege but to be root. */
export function boosterContainer(image: string, resources: JsonObject): Container {
  return {
    name: containers.booster,
    image,
    command: [paths.placeholderInImage, 'install', paths.placeholder],
    resources,
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
      runAsGroup: 0,
      runAsNonRoot: false,
      runAsUser: 0,
    },
    volumeMounts: [{ name: volumes.shared, mountPath: paths.shared }],
    ...defaulted,
  };
}

/** The sidecar that launches, checkpoints and restores the application. CRIU needs the privilege. */
export function agentContainer({ image, resources, dataDirs, leavesWith }: AgentFacts, settings: Settings): Container {
  return {
    name: containers.agent,
    image,
    env: [
      { name: agentEnv.operator, value: settings.operatorAddress },
      { name: agentEnv.serverName, value: settings.serverName },
      { name: agentEnv.ca, value: settings.caPem },
      { name: agentEnv.dataDirs, value: JSON.stringify(dataDirs) },
      ...(leavesWith === undefined ? [] : [{ name: agentEnv.leavesWith, value: leavesWith }]),
      fromField(agentEnv.original, `metadata.annotations['${annotations.original}']`),
      fromField(agentEnv.restore, `metadata.annotations['${annotations.restore}']`),
      fromField(agentEnv.podName, 'metadata.name'),
      fromField(agentEnv.podNamespace, 'metadata.namespace'),
    ],
    resources,
    securityContext: { privileged: true, runAsGroup: 0, runAsNonRoot: false, runAsUser: 0 },
    volumeMounts: [
      { name: volumes.shared, mountPath: paths.shared },
      { name: volumes.work, mountPath: paths.work },
      { name: volumes.token, mountPath: parentOf(paths.token), readOnly: true },
    ],
    // Kept running by the kubelet as long as the pod's other containers, and not waited for when they have completed.
    ...(settings.nativeSidecars ? { restartPolicy: 'Always' } : {}),
    ...defaulted,
  };
}

/** The pod's volumes that only the injection knows, in their order. */
export function podVolumes(): { name: string; [field: string]: unknown }[] {
  const token = { audience: tokenAudience, expirationSeconds: tokenLifeSeconds, path: nameOf(paths.token) };
  return [
    { name: volumes.shared, emptyDir: { medium: 'Memory' } },
    { name: volumes.work, emptyDir: { medium: 'Memory' } },
    { name: volumes.token, projected: { defaultMode: projectedMode, sources: [{ serviceAccountToken: token }] } },
  ];
}

/** Holds the other probes back until the application of the container runs. */
export function startupProbe(container: string): JsonObject {
  return { exec: { command: [paths.placeholder, 'ready', container] }, ...startup };
}

/** Small requests and no limits, but limits where the pod would lose its Guaranteed class without them. */
export function ownResources({ spec }: PodTemplate, { guaranteedResources: { cpu, memory } }: Settings): JsonObject {
  // Of resources of the whole pod (1.32) ours take their part: requests of our own could exceed them, and the pod be refused.
  if (hasQuantities(spec['resources'])) return {};
  const everyone = [...spec.containers, ...(spec.initContainers ?? [])];
  return everyone.every(isGuaranteed) ? { limits: { cpu, memory }, requests: { cpu, memory } } : slimRequests;
}

function hasQuantities(resources: unknown): boolean {
  if (!isJsonObject(resources)) return false;
  return ['limits', 'requests'].some((key) => isJsonObject(resources[key]) && Object.keys(resources[key]).length > 0);
}

/** @see kubernetes pkg/apis/core/v1/helper/qos: limits of cpu and memory, requests equal or absent */
function isGuaranteed({ resources }: Container): boolean {
  if (!isJsonObject(resources) || !isJsonObject(resources['limits'])) return false;
  const limits = resources['limits'];
  const requests = isJsonObject(resources['requests']) ? resources['requests'] : {};
  return ['cpu', 'memory'].every((name) => {
    const limit = quantityInNanos(limits[name]);
    return limit !== undefined && limit > 0n && quantityInNanos(requests[name] ?? limits[name]) === limit;
  });
}

/** Mount paths of the container's own writable emptyDir volumes; a sub-path belongs to another container as well. */
export function dataDirsOf(container: Container, { spec }: PodTemplate): readonly string[] {
  const empty = new Set(spec.volumes?.filter((volume) => Object.hasOwn(volume, 'emptyDir')).map(({ name }) => name));
  return (container.volumeMounts ?? [])
    .filter(({ name, subPath, subPathExpr, readOnly }) => {
      return empty.has(name) && subPath === undefined && subPathExpr === undefined && readOnly !== true;
    })
    .map(({ mountPath }) => mountPath);
}

function fromField(name: string, fieldPath: string): NonNullable<Container['env']>[number] {
  return { name, valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } } };
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
