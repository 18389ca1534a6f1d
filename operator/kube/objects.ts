/**
 * The parts of Kubernetes objects that the operator reads, as the API server sends them: raw JSON, dates as strings.
 * The client library's typed models are not used: they drop every field they do not know, and a target pod made
 * from such a copy would differ from its source.
 */
export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
}

export interface Meta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation?: number;
  readonly creationTimestamp: string;
  readonly deletionTimestamp?: string;
  readonly deletionGracePeriodSeconds?: number;
  readonly finalizers?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
}

/** Any object with metadata. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: Meta;
}

/** `metadata` of an object that is to be created or applied. */
export interface NewMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
}

export interface Container {
  readonly name: string;
  readonly image?: string;
  readonly ports?: readonly {
    readonly containerPort?: number;
    readonly hostPort?: number;
    readonly protocol?: string;
  }[];
  readonly [field: string]: unknown;
}

export interface NodeSelectorTerm {
  readonly matchExpressions?: readonly unknown[];
  readonly matchFields?: readonly unknown[];
}

export interface NodeAffinity {
  readonly requiredDuringSchedulingIgnoredDuringExecution?: { readonly nodeSelectorTerms: readonly NodeSelectorTerm[] };
  readonly [field: string]: unknown;
}

export interface Affinity {
  readonly nodeAffinity?: NodeAffinity;
  readonly [field: string]: unknown;
}

export interface Toleration {
  readonly key?: string;
  readonly operator?: string;
  readonly value?: string;
  readonly effect?: string;
}

export interface Volume {
  readonly name: string;
  readonly persistentVolumeClaim?: { readonly claimName: string };
  readonly ephemeral?: unknown;
  readonly [field: string]: unknown;
}

export interface PodSpec {
  readonly nodeName?: string;
  readonly hostname?: string;
  readonly affinity?: Affinity;
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly readinessGates?: readonly { readonly conditionType: string }[];
  readonly hostNetwork?: boolean;
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly tolerations?: readonly Toleration[];
  readonly volumes?: readonly Volume[];
  readonly [field: string]: unknown;
}

export interface ObjectCondition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
}

export interface ContainerStatus {
  readonly name: string;
  readonly ready?: boolean;
  /** Its startup probe has succeeded. */
  readonly started?: boolean | null;
  readonly state?: {
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly running?: unknown;
    readonly terminated?: unknown;
  };
}

export interface Pod extends KubeObject {
  readonly spec: PodSpec;
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly conditions?: readonly ObjectCondition[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}

/** What is sent to create a pod. */
export interface NewPod {
  readonly apiVersion: 'v1';
  readonly kind: 'Pod';
  readonly metadata: NewMeta;
  readonly spec: PodSpec;
}

export interface ReplicaSet extends KubeObject {
  readonly spec: {
    readonly replicas?: number;
    readonly template?: { readonly spec?: { readonly affinity?: Affinity } };
  };
}

export interface Taint {
  readonly key: string;
  readonly value?: string;
  readonly effect: string;
}

export interface Deployment extends KubeObject {
  readonly spec: {
    readonly replicas?: number;
    readonly template: { readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> | undefined } };
    readonly [field: string]: unknown;
  };
}

/** What is sent to create a Deployment. */
export interface NewDeployment {
  readonly apiVersion: 'apps/v1';
  readonly kind: 'Deployment';
  readonly metadata: NewMeta;
  readonly spec: Deployment['spec'];
}

export interface Node extends KubeObject {
  readonly spec?: { readonly unschedulable?: boolean; readonly taints?: readonly Taint[] };
  readonly status?: {
    readonly conditions?: readonly ObjectCondition[];
    readonly allocatable?: Readonly<Record<string, string>>;
    readonly images?: readonly { readonly names?: readonly string[] | null }[];
  };
}

export interface PersistentVolumeClaim extends KubeObject {
  readonly spec?: { readonly accessModes?: readonly string[] };
}

/** `<namespace>/<name>`: what queues and caches are keyed by. */
export type Key = string;

export function keyOf(object: KubeObject): Key {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}

export function splitKey(key: Key): { readonly namespace: string; readonly name: string } {
  const slash = key.indexOf('/');
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** The owner that manages the object, when there is one. */
export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((owner) => owner.controller === true);
}

export function conditionStatus(
  object: { readonly status?: { readonly conditions?: readonly ObjectCondition[] } } | undefined,
  type: string,
): string | undefined {
  return object?.status?.conditions?.find((condition) => condition.type === type)?.status;
}

export function isReady(object: Pod | Node | undefined): boolean {
  return conditionStatus(object, 'Ready') === 'True';
}

/** A pod whose containers have ended for good. */
export function hasEnded(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

export function isTerminating(object: KubeObject): boolean {
  return object.metadata.deletionTimestamp !== undefined;
}

export function isContainerRunning(pod: Pod, container: string): boolean {
  return pod.status?.containerStatuses?.some((status) => status.name === container && isRunning(status)) ?? false;
}

export function isContainerStarted(pod: Pod, container: string): boolean {
  return pod.status?.containerStatuses?.some((status) => status.name === container && status.started === true) ?? false;
}

export function hasRunningContainers(pod: Pod): boolean {
  return pod.status?.containerStatuses?.some(isRunning) ?? false;
}

function isRunning(status: ContainerStatus): boolean {
  return status.state?.running !== undefined && status.state.running !== null;
}
