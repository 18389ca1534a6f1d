import { annotations } from '../../../proto/names.ts';
import { getJson, kubectl } from './kubectl.ts';
import { until } from './until.ts';

export interface Workload {
  readonly namespace: string;
  readonly name: string;
  readonly image: string;
  readonly container?: Readonly<Record<string, unknown>>;
  readonly pod?: Readonly<Record<string, unknown>>;
  readonly enabled?: boolean;
}

/** The Deployment that a user would write; the injection is the webhook's business. */
export function deployment(w: Workload): object {
  const labels = { app: w.name };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      name: w.name,
      namespace: w.namespace,
      ...(w.enabled === false ? {} : { annotations: { [annotations.enabled]: 'true' } }),
    },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          terminationGracePeriodSeconds: 10,
          ...w.pod,
          containers: [{ name: 'app', image: w.image, ports: [{ containerPort: 8080 }], ...w.container }],
        },
      },
    },
  };
}

export function service(namespace: string, name: string, port: number): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    spec: { selector: { app: name }, ports: [{ port, targetPort: port }] },
  };
}

export interface ContainerStatus {
  readonly name: string;
  readonly ready: boolean;
  readonly restartCount: number;
  readonly containerID: string;
  readonly state?: { readonly running?: object; readonly terminated?: Ended };
  readonly lastState: { readonly terminated?: Ended };
}

export interface Ended {
  readonly exitCode: number;
  readonly reason: string;
}

export interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly deletionTimestamp?: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly { readonly kind: string; readonly name: string; readonly uid: string }[];
  };
  readonly spec: { readonly nodeName: string };
  readonly status: {
    readonly podIP: string;
    readonly phase: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}

/** The workload's pods, but for objects that only wait for their kubelet's next look: deleted, and nothing of them runs. */
export async function pods(namespace: string, app: string): Promise<readonly Pod[]> {
  const { items } = await getJson<{ items: readonly Pod[] }>(['get', 'pods', '-n', namespace, '-l', `app=${app}`]);
  return items.filter(
    ({ metadata, status }) =>
      metadata.deletionTimestamp === undefined ||
      status.containerStatuses?.some(({ state }) => state?.running !== undefined) === true,
  );
}

export function isReady(pod: Pod): boolean {
  return pod.status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}

/** The only pod of the workload, once it is alone and Ready. */
export async function onlyPod(namespace: string, app: string, timeoutMs = 120_000): Promise<Pod> {
  let last: readonly Pod[] = [];
  return until(
    `${namespace}/${app} has one pod, ready`,
    async () => {
      last = await pods(namespace, app);
      const [pod] = last;
      return last.length === 1 && pod !== undefined && isReady(pod) && pod;
    },
    timeoutMs,
  ).catch((error: unknown) => {
    const found = last.map(({ metadata, spec, status }) => ({ name: metadata.name, node: spec.nodeName, status }));
    throw new Error(`${String(error)}: ${JSON.stringify(found)}`, { cause: error });
  });
}

export function containerStatus(pod: Pod, name = 'app'): ContainerStatus {
  const status = pod.status.containerStatuses?.find((container) => container.name === name);
  if (status === undefined) throw new Error(`pod ${pod.metadata.name} has no status of container ${name}`);
  return status;
}

/**
 * Waits for the application's container to be started for the second time, and tells how it ended before.
 * Looked for from the start: the kubelet forgets the last state when it collects dead containers while the next one is only created.
 */
export async function untilRestarted(namespace: string, app: string): Promise<{ pod: Pod; ended: Ended | undefined }> {
  let ended: Ended | undefined;
  return until('the container is restarted', async () => {
    const [pod] = await pods(namespace, app);
    if (pod === undefined) return undefined;
    const { state, lastState, restartCount } = containerStatus(pod);
    ended = lastState.terminated ?? state?.terminated ?? ended;
    return restartCount === 1 && { pod, ended };
  });
}

/** GET from the pod's port 8080 through the API server, so that it works on any cluster. */
export async function httpGet(namespace: string, pod: string, path: string): Promise<string> {
  return kubectl(['get', '--raw', `/api/v1/namespaces/${namespace}/pods/${pod}:8080/proxy${path}`]);
}

export async function httpJson<T>(namespace: string, pod: string, path: string): Promise<T> {
  return JSON.parse(await httpGet(namespace, pod, path)) as T;
}
