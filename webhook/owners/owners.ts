import { errorFields, type Log } from '../../proto/logging.ts';
import { annotations } from '../../proto/names.ts';
import type { Annotations } from '../annotations.ts';
import { type KubeApi, statusOf } from '../kube/api.ts';
import { createMetadataCache, type Metadata, type MetadataCache } from './metadata-cache.ts';

/** What controls pods that are created one by one. */
export interface Owners {
  /**
   * Our annotations on the object of this uid and, of a Job, on its CronJob; the nearest wins. From memory: what is not
   * known yet, or may not be read, has none, and the pod alone decides.
   */
  annotationsOf(uid: string): Annotations;
  hasSynced(): boolean;
  /** Until the signal. */
  run(signal: AbortSignal): Promise<void>;
}

const options: readonly string[] = [
  annotations.enabled,
  annotations.container,
  annotations.agentImage,
  annotations.remedies,
];

const statefulSets = ['/apis/apps/v1/statefulsets'];
const jobs = ['/apis/batch/v1/jobs'];
const cronJobs = ['/apis/batch/v1/cronjobs', '/apis/batch/v1beta1/cronjobs'];

export interface OwnersOptions {
  readonly api: KubeApi;
  readonly log: Log;
  readonly idleMs?: number;
  readonly pauseMs?: number;
}

export function createOwners({ api, log, ...times }: OwnersOptions): Owners {
  let isToldOfRights = false;
  const onError = (error: unknown): void => {
    const isDenied = statusOf(error) === 403;
    if (!isDenied) log.warn('a cache of owners begins again', errorFields(error));
    else if (!isToldOfRights) log.warn('owners may not be read: only pods themselves can opt in', errorFields(error));
    isToldOfRights ||= isDenied;
  };
  const cache = (paths: readonly string[], keeps: (metadata: Metadata) => boolean): MetadataCache =>
    createMetadataCache({ api, paths, keeps, onError, ...times });
  const caches = [
    cache(statefulSets, isAnnotated),
    // A Job also leads to its CronJob.
    cache(jobs, (metadata) => isAnnotated(metadata) || metadata.controllerUid !== undefined),
    cache(cronJobs, isAnnotated),
  ];
  const find = (uid: string): Metadata | undefined =>
    caches.map((one) => one.byUid(uid)).find((one) => one !== undefined);

  return {
    annotationsOf(uid) {
      const owner = find(uid);
      if (owner === undefined) return {};
      const above = owner.controllerUid === undefined ? undefined : find(owner.controllerUid);
      return { ...above?.annotations, ...owner.annotations };
    },
    hasSynced: () => caches.every((one) => one.hasSynced()),
    run: async (signal) => void (await Promise.all(caches.map((one) => one.run(signal)))),
  };
}

function isAnnotated({ annotations: all }: Metadata): boolean {
  return options.some((name) => all[name] !== undefined);
}
