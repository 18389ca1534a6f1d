import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export interface LogFollower {
  readonly lines: readonly string[];
  /** Resolves when the container's log has ended (the pod is gone), at the latest after the given time. */
  ended(timeoutMs: number): Promise<void>;
  /** Follows no longer. */
  stop(): void;
}

/** Follows a container's log from its first line: a source's log is gone with its pod, so it is read while it is written. */
export function followLog(namespace: string, pod: string, container: string): LogFollower {
  const lines: string[] = [];
  const child = spawn('kubectl', ['logs', '-n', namespace, '-f', pod, '-c', container], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  const closed = once(child, 'close');
  return {
    lines,
    async ended(timeoutMs) {
      const timer = setTimeout(() => child.kill(), timeoutMs);
      await closed;
      clearTimeout(timer);
    },
    stop: () => void child.kill(),
  };
}

/** The numbers of the counter's log lines ("count N pid ..."), in order. */
export function countsOf(lines: readonly string[]): readonly number[] {
  return lines.flatMap((line) => {
    const count = /^count (\d+) /.exec(line)?.[1];
    return count === undefined ? [] : [Number(count)];
  });
}

/** What is wrong with a sequence that should rise by one: numbers missing and numbers seen again. */
export function faultsOf(counts: readonly number[]): { readonly lost: number; readonly repeated: number } {
  let lost = 0;
  let repeated = 0;
  for (const [index, count] of counts.entries()) {
    const before = index === 0 ? 0 : (counts[index - 1] ?? 0);
    if (count > before + 1) lost += count - before - 1;
    if (count <= before) repeated += 1;
  }
  return { lost, repeated };
}
