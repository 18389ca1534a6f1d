/** Every name that Podferry puts on, or reads from, an object of the cluster. Nothing else in the code spells one out. */

export const group = 'migration.io';
export const version = 'v1alpha1';
export const apiVersion = `${group}/${version}`;

/** Written by users, on a Deployment or its pod template. */
export const annotations = {
  enabled: `${group}/enabled`,
  /** Which container moves; needed when a pod has several of the user's own. */
  container: `${group}/container`,
  agentImage: `${group}/agent-image`,
  /** `auto` sets environment variables that keep runtimes from using what cannot be moved; `none` (the default) does not. */
  remedies: `${group}/remedies`,
  /** On a Deployment: each new value makes the webhook inject it anew; written by users and, to repair, by the operator. */
  reinject: `${group}/reinject`,

  /** On a pod: the ConfigMap of its namespace with the policy of its workload (proto/policy.ts). */
  config: `${group}/config`,
  /** On a pod: how often a checkpoint of it is taken. */
  interval: `${group}/interval`,
  /** On a pod: `timeoutSeconds` of the Migrations made for its trigger annotation. */
  migrationTimeout: `${group}/migration-timeout-seconds`,

  /** On a pod: `requested` makes the operator create a Migration for it, then the annotation is removed. */
  trigger: `${group}/trigger`,
  /** On a pod, beside the trigger: free text copied to the Migration. */
  reason: `${group}/reason`,
  /** On a pod, beside the trigger: name of the node to move to. */
  targetNode: `${group}/target-node`,
  /** On a pod: the strategy of the Migrations made for its trigger annotation (proto/migration.ts). */
  strategy: `${group}/strategy`,
  /** On a pod: for experiments, the mode of the Migrations made for its trigger annotation (proto/migration.ts). */
  mode: `${group}/mode`,
  /** On a pod: `true` puts the logs and metrics of those Migrations beside their checkpoints. */
  logUpload: `${group}/log-upload`,

  /** Written by us on the pod template: version of the injection. */
  injected: `${group}/injected`,
  /** Written by us on the pod template: JSON of what the injection replaced (proto/injection.ts). */
  original: `${group}/original`,

  /** Written by us on target pods: the lineage; a pod without it begins one, with its own uid as the instance. */
  instance: `${group}/instance`,
  /** Written by us on target pods: how many moves this instance has made. */
  generation: `${group}/generation`,
  /** Written by us on target pods: uid of the Migration they wait for. Its agent starts nothing by itself. */
  restore: `${group}/restore`,
  /** Written by us on target pods once their process runs: a change of the pod, at which its kubelet looks at it. */
  started: `${group}/started`,
  /** Written by us on target pods: uid of the ReplicaSet that adopts them at the cutover. */
  replicaSet: `${group}/replica-set`,
  /** Written by us on the Deployment of a MigratableApp: hash of the template it was made of. */
  templateHash: `${group}/template-hash`,
} as const;

export const labels = {
  /** On target pods and everything else we create for a Migration. */
  migration: `${group}/migration`,
  /** On Migrations made for a trigger annotation: uid of the pod. */
  podUid: `${group}/pod-uid`,
  /** On Checkpoints that were made on an interval: uid of the pod. */
  intervalOf: `${group}/interval-of`,
  /** On the pods of a MigratableApp with a template: its name. */
  app: `${group}/app`,
  /** On the operator's pod that leads; the hub's Service selects it. */
  leader: `${group}/leader`,
} as const;

/** The label a ReplicaSet selects its pods by; withheld from a target until the cutover. */
export const podTemplateHash = 'pod-template-hash';

/** Kubernetes' own annotation (servers >= 1.21): which pod a ReplicaSet removes first. */
export const podDeletionCost = 'controller.kubernetes.io/pod-deletion-cost';

/** Readiness gate on every injected pod: True while this copy is the one that serves. */
export const servingGate = `${group}/serving`;

export const finalizer = `${group}/cleanup`;

export const containers = { agent: 'podferry-agent', booster: 'pid-booster' } as const;

export const volumes = {
  /** Memory-backed; the static placeholder and the ready marks. Read-only for the application. */
  shared: 'podferry',
  /** Memory-backed; CRIU's metadata images. Mounted in the agent only. */
  work: 'podferry-work',
  /** Projected service-account token. Mounted in the agent only. */
  token: 'podferry-token',
} as const;

/** Paths inside the pod. */
export const paths = {
  shared: '/.podferry',
  placeholder: '/.podferry/bin/sleep',
  /** `<container>.ready` holds "pid starttime" of the placeholder whose application runs. */
  run: '/.podferry/run',
  work: '/work',
  token: '/var/run/secrets/podferry/token',
  /** The static binary inside the agent's image. */
  placeholderInImage: '/usr/local/bin/podferry-sleep',
} as const;

/** Environment of the agent's container. */
export const agentEnv = {
  operator: 'PODFERRY_OPERATOR',
  /** PEM of the CA that signs the operator's certificate. */
  ca: 'PODFERRY_CA',
  serverName: 'PODFERRY_SERVER_NAME',
  original: 'PODFERRY_ORIGINAL',
  restore: 'PODFERRY_RESTORE',
  /** JSON array: mount paths of the container's emptyDir volumes, whose contents move too. */
  dataDirs: 'PODFERRY_DATA_DIRS',
  /** `Never` or `OnFailure`, the pod's restart policy, where the agent is an ordinary container of a pod that is to complete. */
  leavesWith: 'PODFERRY_LEAVES_WITH',
  podName: 'PODFERRY_POD_NAME',
  podNamespace: 'PODFERRY_POD_NAMESPACE',
} as const;

/** Audience of the agents' tokens. */
export const tokenAudience = 'podferry.migration.io';

export const systemNamespace = 'migration-system';
/** ConfigMap in the system namespace: the policy of workloads that say nothing themselves. */
export const defaultsConfigMap = 'migration-defaults';
export const services = { webhook: 'podferry-webhook', operator: 'podferry-operator' } as const;
export const ports = { webhook: 9443, hub: 8443, health: 8080 } as const;
export const secrets = {
  ca: 'podferry-ca',
  webhookTls: 'podferry-webhook-tls',
  operatorTls: 'podferry-operator-tls',
  /** Made by the operator; every checkpoint is sealed with a key that is derived from it. */
  masterKey: 'podferry-master-key',
} as const;
export const webhookConfiguration = 'podferry';
/** ClusterRole that a namespace binds to let the webhook read its pull secrets. */
export const pullSecretsRole = 'podferry-pull-secrets';
export const leaderLease = 'podferry-operator';
export const fieldManager = 'podferry-operator';

/** Pids below this are left to the placeholder and the agent; the application starts above it in every generation. */
export const firstAppPid = 10_000;
