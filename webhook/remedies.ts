import type { Original } from '../proto/injection.ts';
import { without, type Container } from './pod-template.ts';

interface Remedy {
  readonly name: string;
  readonly value: string;
  /** A list separated by commas: the value is added to those that are there. */
  readonly isList?: true;
}

/** What keeps runtimes from using what cannot be moved; programs that know none of these are not affected. */
const remedies: readonly Remedy[] = [
  // libuv, so Node.js: epoll instead of io_uring (IO_URING_IN_USE)
  { name: 'UV_USE_IO_URING', value: '0' },
  // Go >= 1.24: TCP instead of Multipath TCP (MPTCP_IN_USE)
  { name: 'GODEBUG', value: 'multipathtcp=0', isList: true },
  // .NET: looks at files in turn instead of inotify (INOTIFY_ON_OVERLAY)
  { name: 'DOTNET_USE_POLLING_FILE_WATCHER', value: '1' },
];

type Change = NonNullable<Original['env']>[number];

/**
 * The changes of a container's environment that make it movable. What the user has set stays; what comes by `envFrom` is not seen
 * here and yields to them.
 */
export function remediesFor({ env = [] }: Container): readonly Change[] {
  return remedies.flatMap(({ name, value, isList }): Change[] => {
    const set = env.findLast((entry) => entry.name === name);
    if (set === undefined) return [{ name, value }];
    const before = set.value;
    if (isList !== true || !before || hasKey(before, value)) return [];
    return [{ name, value: `${before},${value}`, before }];
  });
}

function hasKey(list: string, setting: string): boolean {
  const key = (one: string): string => one.trim().split('=')[0] ?? '';
  return list.split(',').some((one) => key(one) === key(setting));
}

/** The container with these changes; itself when there are none. */
export function withRemedies(container: Container, changes: readonly Change[]): Container {
  if (changes.length === 0) return container;
  const { env = [] } = container;
  const added = changes.filter(({ before }) => before === undefined).map(({ name, value }) => ({ name, value }));
  const changed = changes
    .filter(({ before }) => before !== undefined)
    .reduce((list, { name, value }) => replaceLast(list, (entry) => entry.name === name, value), env);
  return { ...container, env: [...changed, ...added] };
}

/** Takes the changes back, but for those that somebody has changed since. */
export function withoutRemedies(container: Container, { env: changes = [], created }: Original): Container {
  if (changes.length === 0 || container.env === undefined) return container;
  const env = changes.reduce(
    (list, { name, value, before }) =>
      replaceLast(list, (entry) => entry.name === name && entry.value === value, before),
    container.env,
  );
  return env.length === 0 && created.includes('env') ? without(container, 'env') : { ...container, env };
}

type Env = NonNullable<Container['env']>;

/** The last entry that fits gets the value; without one it goes. */
function replaceLast(list: Env, fits: (entry: Env[number]) => boolean, value: string | undefined): Env {
  const at = list.findLastIndex(fits);
  const entry = list[at];
  if (entry === undefined) return list;
  return list.toSpliced(at, 1, ...(value === undefined ? [] : [{ ...entry, value }]));
}
