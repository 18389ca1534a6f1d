import type { PersistentVolumeClaim, PodSpec, Volume } from '../kube/objects.ts';
import type { Finding } from './findings.ts';

/** Disks that one node has at a time, unless they are only read. */
const disks = [
  'awsElasticBlockStore',
  'azureDisk',
  'cinder',
  'fc',
  'gcePersistentDisk',
  'iscsi',
  'rbd',
  'vsphereVolume',
];

const shared: ReadonlySet<string> = new Set(['ReadWriteMany', 'ReadOnlyMany']);

/**
 * The volumes that keep a pod from being moved: source and target exist at the same time on two nodes, and both need them.
 * A claim that is not known (yet) is no obstacle here.
 */
export function volumeFindings(spec: PodSpec, claims: ReadonlyMap<string, PersistentVolumeClaim>): readonly Finding[] {
  const bound = (spec.volumes ?? []).flatMap((volume) => why(volume, claims) ?? []);
  return bound.length === 0 ? [] : [{ code: 'VOLUME_BOUND', message: bound.join(', ') }];
}

function why(volume: Volume, claims: ReadonlyMap<string, PersistentVolumeClaim>): string | undefined {
  if (volume.ephemeral) return `volume ${volume.name} is made anew for each pod`;
  const disk = disks.find((kind) => isWritten(volume[kind]));
  if (disk !== undefined) return `volume ${volume.name} is a disk (${disk}) of one node at a time`;
  const claimName = volume.persistentVolumeClaim?.claimName;
  const modes = claimName === undefined ? undefined : claims.get(claimName)?.spec?.accessModes;
  if (modes === undefined || modes.some((mode) => shared.has(mode))) return undefined;
  return `volume ${volume.name} (claim ${claimName}) is ${modes.join(', ')}`;
}

function isWritten(source: unknown): boolean {
  return typeof source === 'object' && source !== null && !('readOnly' in source && source.readOnly === true);
}
