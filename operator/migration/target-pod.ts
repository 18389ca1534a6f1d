import { annotations, labels, paths, podDeletionCost, podTemplateHash } from '../../proto/names.ts';
import type { Affinity, Container, NewPod, NodeSelectorTerm, Pod } from '../kube/objects.ts';

export interface TargetPodInput {
  readonly source: Pod;
  /** The container whose process moves. */
  readonly container: string;
  readonly migrationUid: string;
  readonly migrationName: string;
  readonly instance: string;
  /** Of the target. */
  readonly generation: number;
  /** Without it: any node but the source's. */
  readonly targetNode: string | undefined;
  readonly replicaSetUid: string;
  /** Of the workload's template. The source's own may hold our constraint of an earlier move. */
  readonly templateAffinity: Affinity | undefined;
}

/** Hostnames, and so the names of pods that want to be resolved, end at this length. */
const maxNameChars = 63;

/** Filled in by the server or the scheduler; admission refuses some of them at creation and computes them again. */
const assignedFields = ['nodeName', 'ephemeralContainers', 'priority', 'preemptionPolicy', 'overhead', 'affinity'];

/** Annotations of one pod on one node; a copy would tell the network plugin a wrong address. */
const boundPrefixes = ['cni.projectcalico.org/', 'k8s.v1.cni.cncf.io/network-status', 'k8s.ovn.org/'];

const ourMarks: readonly string[] = [
  annotations.trigger,
  annotations.reason,
  annotations.targetNode,
  annotations.started,
  podDeletionCost,
];

/**
 * The pod a process moves to: the source's spec on another node, outside the ReplicaSet's selector, waiting for its
 * restore. Everything it does not know about stays as it is in the source.
 */
export function targetPod(input: TargetPodInput): NewPod {
  const { source, container, generation } = input;
  const { [podTemplateHash]: _, ...sourceLabels } = source.metadata.labels ?? {};
  const spec = Object.fromEntries(Object.entries(source.spec).filter(([field]) => !assignedFields.includes(field)));
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: targetPodName(source.metadata.name, generation, input.migrationUid),
      namespace: source.metadata.namespace ?? 'default',
      labels: { ...sourceLabels, [labels.migration]: labelValue(input.migrationName) },
      annotations: {
        ...keptAnnotations(source),
        [annotations.instance]: input.instance,
        [annotations.generation]: String(generation),
        [annotations.restore]: input.migrationUid,
        [annotations.replicaSet]: input.replicaSetUid,
      },
    },
    spec: {
      ...spec,
      hostname: source.spec.hostname ?? hostnameOf(source.metadata.name),
      affinity: onNode(input.templateAffinity, input.targetNode, source.spec.nodeName),
      containers: source.spec.containers.map((each) => (each.name === container ? waiting(each) : each)),
    },
  };
}

/** `<base>-g<generation>-<5 hex of the migration>`: the same for the same Migration, and still a valid hostname. */
export function targetPodName(sourceName: string, generation: number, migrationUid: string): string {
  const suffix = `-g${generation}-${migrationUid.replaceAll('-', '').slice(0, 5)}`;
  const base = sourceName.replace(/-g\d+-[0-9a-f]{5}$/, '').slice(0, maxNameChars - suffix.length);
  return base.replace(/[-.]+$/, '') + suffix;
}

/** The hostname that the kubelet gives a pod without one of its own. */
function hostnameOf(podName: string): string {
  return podName
    .slice(0, maxNameChars)
    .replace(/[-.]+$/, '')
    .replaceAll('.', '-');
}

/** Names of objects are longer than values of labels may be. */
function labelValue(name: string): string {
  return name.slice(0, maxNameChars).replace(/[-.]+$/, '');
}

function keptAnnotations(source: Pod): Record<string, string> {
  return Object.fromEntries(
    Object.entries(source.metadata.annotations ?? {}).filter(
      ([name]) => !ourMarks.includes(name) && !boundPrefixes.some((prefix) => name.startsWith(prefix)),
    ),
  );
}

/** Adds our choice of node to each of the workload's own required terms: terms are alternatives, so each must hold it. */
function onNode(
  affinity: Affinity | undefined,
  targetNode: string | undefined,
  sourceNode: string | undefined,
): Affinity {
  const requirement =
    targetNode === undefined
      ? { key: 'metadata.name', operator: 'NotIn', values: [sourceNode ?? ''] }
      : { key: 'metadata.name', operator: 'In', values: [targetNode] };
  const terms: readonly NodeSelectorTerm[] = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
    ?.nodeSelectorTerms ?? [{}];
  return {
    ...affinity,
    nodeAffinity: {
      ...affinity?.nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: terms.map((term) => ({ ...term, matchFields: [...(term.matchFields ?? []), requirement] })),
      },
    },
  };
}

/** While the process is on its way the kubelet's other probes wait for this one, which never gives up within a day. */
function waiting(container: Container): Container {
  return {
    ...container,
    startupProbe: {
      exec: { command: [paths.placeholder, 'ready', container.name] },
      periodSeconds: 1,
      timeoutSeconds: 5,
      failureThreshold: 86_400,
    },
  };
}
