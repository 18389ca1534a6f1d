/**
 * The error codes of Podferry: stable, tested, and documented in the README's troubleshooting table.
 * `retryable` says whether trying the same thing again can help; `hint` says what a person does next.
 */
export interface ErrorKind {
  readonly retryable: boolean;
  readonly hint: string;
}

export const errorKinds = {
  // opting in
  CONTAINER_AMBIGUOUS: {
    retryable: false,
    hint: 'set the annotation migration.io/container to the container that should move',
  },
  CONTAINER_UNKNOWN: { retryable: false, hint: 'migration.io/container names no container of the pod; correct it' },
  COMMAND_UNKNOWN: {
    retryable: false,
    hint: 'give the container a `command`',
  },
  NO_COMMAND: { retryable: false, hint: 'give the container a `command`' },
  IMAGE_INVALID: { retryable: false, hint: 'correct the image, or give the container a `command`' },
  IMAGE_MISSING: {
    retryable: true,
    hint: 'push the image, then kubectl rollout restart; or give the container a `command`',
  },
  IMAGE_DENIED: {
    retryable: true,
    hint: 'let a RoleBinding to podferry-pull-secrets show us the pull secrets here, or give a `command`',
  },
  IMAGE_UNREACHABLE: {
    retryable: true,
    hint: 'kubectl rollout restart when the registry answers, or give the container a `command`',
  },
  IMAGE_PENDING: {
    retryable: true,
    hint: 'its answer will be kept: kubectl rollout restart in some seconds, or give a `command`',
  },
  OWNER_UNSUPPORTED: { retryable: false, hint: 'only pods of Deployments move in this version' },
  ANNOTATION_INVALID: { retryable: false, hint: 'correct the annotation named in the message' },
  ANNOTATION_UNKNOWN: { retryable: false, hint: 'correct the name of the annotation, or remove it' },
  ANNOTATION_MISPLACED: { retryable: false, hint: 'move the annotation, or remove it' },
  NOT_INJECTED: {
    retryable: false,
    hint: 'annotate the Deployment with migration.io/enabled: "true" and wait for its rollout',
  },
  HOST_PID: { retryable: false, hint: 'pods with hostPID: true cannot move; remove it' },
  WINDOWS_POD: { retryable: false, hint: 'only Linux pods move' },
  USER_NAMESPACE: {
    retryable: false,
    hint: "remove hostUsers: false; CRIU needs the node's own user namespace",
  },
  PROCESS_NAMESPACE_PRIVATE: {
    retryable: false,
    hint: 'remove shareProcessNamespace: false; the agent must see the processes of the application',
  },
  NAME_TAKEN: {
    retryable: false,
    hint: 'rename what the message names; Podferry needs this name, volume or path in the pod',
  },
  TEMPLATE_INVALID: { retryable: false, hint: 'correct the field of the pod template named in the message' },
  REQUEST_INVALID: { retryable: false, hint: 'send an AdmissionReview of admission.k8s.io/v1 as application/json' },

  // configuration and trust
  CONFIG_INVALID: { retryable: false, hint: 'correct the setting named in the message' },
  UNAUTHENTICATED: {
    retryable: false,
    hint: "the caller's token is missing, expired, for another audience, or of no enabled pod",
  },
  NOT_LEADER: { retryable: true, hint: 'none: the agent reconnects to the leader by itself' },
  ORDER_STALE: { retryable: false, hint: 'none: an order of an older migration or attempt was refused' },

  // the application
  PLACEHOLDER_MISSING: { retryable: true, hint: "is the application's container running? see kubectl describe pod" },
  PLACEHOLDER_UNREACHABLE: { retryable: true, hint: 'the container is going away; the next one is used' },
  APP_START_FAILED: {
    retryable: false,
    hint: 'the original command cannot be executed in its container; see the message',
  },
  APP_NOT_RUNNING: { retryable: true, hint: 'wait until the application runs, then move it' },
  CGROUP_UNREACHABLE: {
    retryable: true,
    hint: 'the agent must be privileged and see the cgroup hierarchies of the node',
  },

  // what an application uses that cannot be moved (preflight)
  IO_URING_IN_USE: {
    retryable: false,
    hint: 'Node.js: set UV_USE_IO_URING=0, or let migration.io/remedies: auto do it; others: refuse io_uring by the seccompProfile (RuntimeDefault of containerd 2 does)',
  },
  TERMINAL_IN_USE: { retryable: false, hint: 'remove tty: true (or stdin) from the container' },
  GPU_IN_USE: { retryable: false, hint: 'processes that hold a GPU cannot move' },
  MEMFD_SECRET_IN_USE: {
    retryable: false,
    hint: 'memory of memfd_secret cannot be read by anyone; switch it off in the application',
  },
  SYSV_MEMORY_IN_USE: {
    retryable: false,
    hint: 'shared memory of shmget belongs to the pod, not to the process; PostgreSQL cannot do without it',
  },
  DEVICE_IN_USE: { retryable: false, hint: 'close the device: what it holds for the process stays on the node' },
  HUGE_PAGES_IN_USE: {
    retryable: false,
    hint: 'let the application use ordinary pages; transparent huge pages may stay',
  },
  FILE_KIND_UNSUPPORTED: {
    retryable: false,
    hint: 'CRIU cannot take along files of this kind; switch off in the application what uses them',
  },
  MPTCP_IN_USE: {
    retryable: false,
    hint: 'Go: set GODEBUG=multipathtcp=0, or let migration.io/remedies: auto do it; others: use plain TCP',
  },
  SOCKET_KIND_UNSUPPORTED: {
    retryable: false,
    hint: 'TCP, UDP, raw, UNIX, netlink and packet sockets move; close the others',
  },
  UNIX_PEER_OUTSIDE: {
    retryable: true,
    hint: 'close the UNIX socket before a move, or connect to the other process by TCP',
  },
  INOTIFY_ON_OVERLAY: {
    retryable: false,
    hint: '.NET: set DOTNET_USE_POLLING_FILE_WATCHER=1, or let migration.io/remedies: auto do it; others: poll, or keep what is watched on a volume',
  },
  FILE_OUTSIDE_MOUNTS: {
    retryable: false,
    hint: 'close files of file systems that the container does not see, or no longer sees',
  },
  DELETED_FILE_LARGE: {
    retryable: true,
    hint: 'a deleted file that is still open travels in memory, up to 64 MiB: close it, shrink it, or keep its name',
  },
  FILE_NAME_LOST: {
    retryable: true,
    hint: 'the file was deleted under the name by which it was opened, but has another: open it again by that',
  },
  PROCESS_TRACED: { retryable: true, hint: 'end the debugger or tracer (strace, gdb) first' },
  PROCESS_WATCHED: { retryable: true, hint: 'the application holds a pidfd of a process that does not move; close it' },
  NAMESPACE_NESTED: {
    retryable: false,
    hint: 'processes in namespaces of their own (sandboxes, containers in containers) cannot move; switch that off',
  },

  // what a pod is bound to its node by
  VOLUME_BOUND: {
    retryable: false,
    hint: 'while both pods exist a volume must be usable on both nodes: use ReadWriteMany, or state that is not on a volume',
  },
  HOST_NETWORK: {
    retryable: false,
    hint: 'with hostNetwork: true addresses and ports belong to the node and change in a move',
  },
  HOST_IPC: {
    retryable: false,
    hint: 'with hostIPC: true shared memory belongs to the node and does not move; remove it',
  },
  RUNTIME_SANDBOXED: {
    retryable: false,
    hint: 'CRIU sees no processes of sandboxes such as gVisor and Kata; use a runtimeClassName of plain containers',
  },

  // the node to move to
  NODE_UNKNOWN: { retryable: false, hint: 'spec.targetNode names no node of the cluster; correct it or leave it out' },
  NODE_UNSUITABLE: { retryable: true, hint: 'name another node, or none: the scheduler then takes one that fits' },
  NODE_FULL: { retryable: true, hint: 'make room on the node, or name another one or none' },
  CPU_FEATURES_MISSING: {
    retryable: true,
    hint: 'move to a node whose CPU has all features of the present one, such as one of the same machine type',
  },
  CRIU_OLDER: {
    retryable: true,
    hint: 'both agents must have the same CRIU, or the target a newer one: use one agent image',
  },

  // checkpoint and restore
  KERNEL_UNSUPPORTED: {
    retryable: false,
    hint: 'move from and to nodes whose kernel has what the message names',
  },
  CRIU_UNSUPPORTED: { retryable: false, hint: 'use an agent image with CRIU 4.2.1 or newer' },
  CRIU_DUMP_FAILED: { retryable: true, hint: "the application continues; the message holds CRIU's reason" },
  CRIU_RESTORE_FAILED: { retryable: true, hint: "the source continues; the message holds CRIU's reason" },
  PAGE_PROTOCOL: {
    retryable: false,
    hint: 'CRIU spoke something else than page-xfer of 4.2; report it with the agent log',
  },
  IMAGE_MAGIC: { retryable: false, hint: 'the file is no CRIU image of the expected kind' },
  IMAGE_TRUNCATED: { retryable: false, hint: 'the image ends in the middle of an entry; take a new checkpoint' },
  FILES_FAILED: {
    retryable: true,
    hint: "files of the container's writable layer could not be read or written; see the message",
  },
  PID_IN_USE: { retryable: true, hint: 'a process of the target pod has a pid of the application; move again' },
  PROCESS_UNFREEZABLE: { retryable: true, hint: 'a process of the tree does not stop; see the message' },

  // storage
  STORE_UNREACHABLE: { retryable: true, hint: 'is the endpoint right, and may the node reach it?' },
  STORE_DENIED: { retryable: false, hint: 'the credentials may not do this in the bucket' },
  STORE_WRITE_FAILED: { retryable: true, hint: 'the store refused or broke off a write; see the message' },
  STORE_READ_FAILED: { retryable: true, hint: 'the store refused or broke off a read; see the message' },
  OBJECT_MISSING: { retryable: false, hint: 'an object of the checkpoint is gone; use another checkpoint' },
  OBJECT_CORRUPT: { retryable: false, hint: 'an object is not what was stored; use another checkpoint' },
  MANIFEST_INVALID: { retryable: false, hint: 'the manifest is not one this version can read' },

  KEY_WRONG: {
    retryable: false,
    hint: 'the object was sealed with another key; is the key named in its manifest the right one?',
  },
  DIRECT_FAILED: {
    retryable: true,
    hint: 'none: pages take the way through storage; may the pods of the two nodes talk to each other?',
  },
  DRAINING: { retryable: true, hint: 'wait until the pages of the last restore have arrived' },

  // the move
  SOURCE_GONE: { retryable: false, hint: 'the pod ended before it could be moved' },
  AGENT_LOST: {
    retryable: true,
    hint: 'the agent of the pod named in the message is not connected; is its container running?',
  },
  TARGET_NOT_READY: {
    retryable: true,
    hint: 'the target pod did not come up in time; see kubectl describe pod and node',
  },
  TARGET_LOST: { retryable: true, hint: 'the target pod or its agent ended before the commit; the source continues' },
  DEADLINE_EXCEEDED: { retryable: true, hint: 'raise spec.timeoutSeconds or look for what is slow in status.timeline' },
  MIGRATION_INVALID: { retryable: false, hint: 'correct the field of the Migration named in the message' },
  CHECKPOINT_INVALID: { retryable: false, hint: 'correct the field of the Checkpoint named in the message' },
  POLICY_INVALID: {
    retryable: false,
    hint: 'correct the setting in the place named in the message; until then no other place is asked instead',
  },
  MIGRATION_CONFLICT: { retryable: true, hint: 'wait until the other Migration of this pod has ended' },
  CANCELLED: { retryable: false, hint: 'the Migration was deleted' },
  INTERNAL: { retryable: true, hint: 'a fault of Podferry; report it with the log' },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorKinds;

export type Detail = Readonly<Record<string, string | number | boolean | undefined>>;

/** The one error type of all components. The message says what was tried, on what, and what came back. */
export class PodferryError extends Error {
  override readonly name = 'PodferryError';
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly detail: Detail = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export function isErrorCode(value: string): value is ErrorCode {
  return Object.hasOwn(errorKinds, value);
}

/** The error as it is, or wrapped as INTERNAL so that nothing untyped crosses a border. */
export function toPodferryError(error: unknown, doing: string): PodferryError {
  if (error instanceof PodferryError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new PodferryError('INTERNAL', `${doing}: ${text}`, {}, { cause: error });
}

/** For the end of a switch over a union. */
export function assertNever(value: never): never {
  throw new PodferryError('INTERNAL', `unexpected value ${JSON.stringify(value)}`);
}
