import type { Node, Pod, PodSpec, Taint, Toleration } from '../kube/objects.ts';
import type { Finding } from './findings.ts';
import { amountText, freeOf, podRequests } from './pod-resources.ts';

/** The node that a Migration names, and what runs there. */
export interface NamedNode {
  readonly name: string;
  /** Undefined when there is none of this name. */
  readonly node: Node | undefined;
  readonly pods: readonly Pod[];
}

/** Kubernetes' own, put on a node that was cordoned. */
const cordoned: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

/**
 * Why the scheduler would not put another pod like this one on the node, all at once. Where several pods are scheduled at the
 * same moment it decides otherwise; then the target's condition tells.
 */
export function nodeFindings(spec: PodSpec, { name, node, pods }: NamedNode): readonly Finding[] {
  if (node === undefined) return [{ code: 'NODE_UNKNOWN', message: `there is no node ${name}` }];
  const unsuitable = [...taintsOf(node, spec), ...labelsMissing(node, spec), ...portsTaken(spec, pods)];
  const lacking = lackOf(node, spec, pods);
  return [
    ...(unsuitable.length === 0
      ? []
      : [{ code: 'NODE_UNSUITABLE' as const, message: `node ${name} ${unsuitable.join(', ')}` }]),
    ...(lacking.length === 0
      ? []
      : [{ code: 'NODE_FULL' as const, message: `node ${name} has ${lacking.join(', ')}` }]),
  ];
}

function taintsOf(
  { spec: { unschedulable, taints = [] } = {} }: Node,
  { tolerations = [] }: PodSpec,
): readonly string[] {
  const isCordoned = unschedulable === true && !tolerations.some((toleration) => tolerates(toleration, cordoned));
  const refused = taints.filter(
    (taint) =>
      (taint.effect === 'NoSchedule' || taint.effect === 'NoExecute') &&
      taint.key !== cordoned.key &&
      !tolerations.some((toleration) => tolerates(toleration, taint)),
  );
  return [
    ...(isCordoned ? ['is cordoned'] : []),
    ...refused.map(({ key, value, effect }) => `has the taint ${key}${value ? `=${value}` : ''}:${effect}`),
  ];
}

/** @see kubernetes/api core/v1 Toleration.ToleratesTaint */
function tolerates({ key, operator, value, effect }: Toleration, taint: Taint): boolean {
  if (effect && effect !== taint.effect) return false;
  if (key && key !== taint.key) return false;
  return operator === 'Exists' || (Boolean(key) && (value ?? '') === (taint.value ?? ''));
}

function labelsMissing({ metadata: { labels } }: Node, { nodeSelector = {} }: PodSpec): readonly string[] {
  return Object.entries(nodeSelector).flatMap(([key, value]) =>
    labels?.[key] === value ? [] : [`has no label ${key}=${value}, which the pod selects`],
  );
}

function hostPorts(spec: PodSpec): readonly string[] {
  return spec.containers
    .flatMap(({ ports }) => ports ?? [])
    .flatMap(({ hostPort, containerPort, protocol = 'TCP' }) => {
      const port = hostPort ?? (spec.hostNetwork === true ? containerPort : undefined);
      return port === undefined || port === 0 ? [] : [`${port}/${protocol}`];
    });
}

function portsTaken(spec: PodSpec, pods: readonly Pod[]): readonly string[] {
  const taken = new Set(pods.flatMap((pod) => hostPorts(pod.spec)));
  return hostPorts(spec)
    .filter((port) => taken.has(port))
    .map((port) => `has its port ${port} in use`);
}

function lackOf({ status }: Node, spec: PodSpec, pods: readonly Pod[]): readonly string[] {
  if (status?.allocatable === undefined) return [];
  const free = freeOf(status.allocatable, pods);
  const needs = podRequests(spec);
  const short = Array.from(needs).flatMap(([name, need]) => {
    const left = free.get(name) ?? 0n;
    if (need === 0n || left >= need) return [];
    return [`${amountText(name, left > 0n ? left : 0n)} of ${name} free, the pod requests ${amountText(name, need)}`];
  });
  const places = free.get('pods');
  const isOccupied = places !== undefined && Number(places / 1_000_000_000n) <= pods.length;
  return isOccupied ? [...short, 'no place for one more pod'] : short;
}

/** Images that the node does not have yet, as far as it tells (kubelets list the largest 50). Pulling them delays a move. */
export function imagesMissing({ containers, initContainers = [] }: PodSpec, node: Node | undefined): readonly string[] {
  const images = node?.status?.images;
  if (images === undefined || images.length === 0) return [];
  const there = new Set(images.flatMap(({ names }) => names ?? []).map(fullName));
  const needed = [...initContainers, ...containers].flatMap(({ image }) => (image === undefined ? [] : [image]));
  return [...new Set(needed)].filter((image) => !there.has(fullName(image)));
}

/** `redis` -> `docker.io/library/redis:latest`. */
function fullName(image: string): string {
  const [first = '', ...rest] = image.split('/');
  const hasRegistry = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  const path = hasRegistry ? image : `docker.io/${rest.length === 0 ? 'library/' : ''}${image}`;
  return /[:@][^/]*$/.test(path) ? path : `${path}:latest`;
}
