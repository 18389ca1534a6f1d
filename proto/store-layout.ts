/** The names of everything in the object store, spelled once for those that write, read and remove it (agent/store/FORMAT.md). */

/** One replica's lineage. */
export interface InstancePlace {
  readonly namespace: string;
  readonly workload: {
    /** As Kubernetes has it: `Deployment`. */
    readonly kind: string;
    readonly name: string;
  };
  /** Uid of its first pod. */
  readonly instance: string;
}

/** One checkpoint of an instance. */
export interface CheckpointPlace {
  /** Of the instance, ending in a slash. */
  readonly keyPrefix: string;
  readonly checkpoint: string;
}

/** What an object below an instance's prefix is. */
export type ObjectKind = 'manifest' | 'log' | 'pack' | 'mark';

/** `<prefix>/<namespace>/<kind>-<name>/<instance>/`; without the first part when `prefix` is empty. */
export function instancePrefix(prefix: string, { namespace, workload, instance }: InstancePlace): string {
  return `${rootOf(prefix)}${namespace}/${workload.kind.toLowerCase()}-${workload.name}/${instance}/`;
}

/** What all keys of an installation begin with: empty, or ending in a slash. */
export const rootOf = (prefix: string): string => (prefix === '' ? '' : `${prefix}/`);

export const packsBelow = (keyPrefix: string): string => `${keyPrefix}packs/`;
export const packObject = (keyPrefix: string, name: string): string => packsBelow(keyPrefix) + name;
export const checkpointsBelow = (keyPrefix: string): string => `${keyPrefix}checkpoints/`;
export const manifestKeyOf = ({ keyPrefix, checkpoint }: CheckpointPlace): string =>
  `${checkpointsBelow(keyPrefix)}${checkpoint}/manifest`;
export const logsBelow = ({ keyPrefix, checkpoint }: CheckpointPlace): string =>
  `${checkpointsBelow(keyPrefix)}${checkpoint}/logs/`;
/** Of an agent that collects garbage; only its time counts. */
export const markOf = (keyPrefix: string): string => `${keyPrefix}collected`;

const manifestKey = /^(|.*\/)checkpoints\/([^/]+)\/manifest$/;
const logKey = /^(|.*\/)checkpoints\/([^/]+)\/logs\/[^/]+$/;

const placeBy = (pattern: RegExp, key: string): CheckpointPlace | undefined => {
  const [, keyPrefix, checkpoint] = pattern.exec(key) ?? [];
  return keyPrefix === undefined || checkpoint === undefined ? undefined : { keyPrefix, checkpoint };
};

/** The checkpoint whose manifest is under this key; undefined when it is no manifest's. */
export const placeOfManifest = (key: string): CheckpointPlace | undefined => placeBy(manifestKey, key);

/** The checkpoint beside which the log under this key lies; undefined when it is no log's. */
export const placeOfLog = (key: string): CheckpointPlace | undefined => placeBy(logKey, key);

const uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const checkpointId = '[A-Za-z0-9][A-Za-z0-9._-]{0,127}';

/** One part of a key at each level above the objects, from the namespace down. Who removes by these must not meet what is not ours. */
const levels: readonly RegExp[] = [
  /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/,
  /^[a-z0-9]+-[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/,
  new RegExp(`^${uuid}$`),
];

/** How many parts a key has between the installation's prefix and the objects of an instance. */
export const levelsAboveObjects = levels.length;

/** Whether such a folder may be there by the layout. @param level 0: namespace, 1: workload, 2: instance */
export const isFolder = (level: number, name: string): boolean => levels[level]?.test(name) ?? false;

const objects: readonly (readonly [ObjectKind, RegExp])[] = [
  ['manifest', new RegExp(`^checkpoints/${checkpointId}/manifest$`)],
  ['log', new RegExp(`^checkpoints/${checkpointId}/logs/[a-z][a-z0-9.-]{0,63}$`)],
  ['pack', new RegExp(`^packs/${uuid}$`)],
  ['mark', /^collected$/],
];

/** What the object is by its name. @param name what follows the instance's prefix @returns undefined when it is none of ours */
export const objectKind = (name: string): ObjectKind | undefined => objects.find(([, shape]) => shape.test(name))?.[0];
