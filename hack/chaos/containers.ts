import { join } from 'node:path';
import { paths } from '../../proto/names.ts';
import { heldCapabilities } from './capabilities.ts';

export interface Place {
  /** Of the pod. */
  readonly dir: string;
  readonly id: string;
  readonly pausePid: number;
  /** The agent's root file system. */
  readonly root: string;
  /** The agent's bundles. */
  readonly app: string;
}

const bind = (source: string, destination: string, ...options: string[]): object => ({
  destination,
  source,
  type: 'bind',
  options: ['rbind', 'rprivate', ...options],
});

const tmpfs = (destination: string): object => ({ destination, type: 'tmpfs', source: 'tmpfs', options: ['nosuid'] });

const proc = { destination: '/proc', type: 'proc', source: 'proc' };

function config(place: Place, root: object, process: object, mounts: readonly object[], more: object): object {
  return {
    ociVersion: '1.0.0',
    root,
    process: { cwd: '/', user: { uid: 0, gid: 0 }, rlimits: [], ...process },
    mounts,
    linux: {
      cgroupsPath: `/${place.id}`,
      namespaces: [
        { type: 'mount' },
        ...['pid', 'ipc', 'uts'].map((type) => ({ type, path: `/proc/${place.pausePid}/ns/${type}` })),
      ],
      ...more,
    },
  };
}

/** The application's container as the webhook leaves it: nothing but the placeholder, and no privilege. */
export function appConfig(place: Place): object {
  return config(
    place,
    { path: join(place.dir, 'root') },
    {
      args: [paths.placeholder, 'infinity'],
      env: ['PATH=/bin'],
      capabilities: { bounding: [], effective: [], permitted: [] },
      oomScoreAdj: 500,
    },
    [
      proc,
      tmpfs('/dev'),
      tmpfs('/dev/shm'),
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['ro'] },
      bind(join(place.dir, 'shared'), paths.shared, 'ro'),
    ],
    { readonlyPaths: ['/proc/sys'] },
  );
}

/** What a privileged container has. CAP_SYS_RESOURCE and others may be missing on a test machine, and are then not given. */
export function agentConfig(place: Place, environment: Readonly<Record<string, string>>): object {
  const capabilities = heldCapabilities();
  return config(
    place,
    { path: place.root },
    {
      args: ['/usr/bin/node', '/app/agent.mjs'],
      env: Object.entries(environment).map(([name, value]) => `${name}=${value}`),
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
    },
    [
      proc,
      tmpfs('/dev'),
      tmpfs('/run'),
      tmpfs('/tmp'),
      { destination: '/sys', type: 'sysfs', source: 'sysfs' },
      bind('/sys/fs/cgroup', '/sys/fs/cgroup'),
      bind(join(place.dir, 'shared'), paths.shared),
      bind(join(place.dir, 'work'), paths.work),
      bind(join(place.dir, 'token'), join(paths.token, '..'), 'ro'),
      bind(place.app, '/app', 'ro'),
    ],
    { resources: { devices: [{ allow: true, access: 'rwm' }] } },
  );
}
