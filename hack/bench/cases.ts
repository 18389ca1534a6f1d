const quick = [64, 256, 1024];
const large = [2048, 4096, 8192];

/** Left to the system, the store's daemons and everybody else. */
const reserveMib = 3072;

/** Which sizes were asked for. */
export interface Wanted {
  readonly full: boolean;
  /** In MiB, instead of those that we would take. */
  readonly only?: readonly number[];
}

/**
 * Sizes of the processes to measure, in MiB.
 * @param copies how often a process' memory exists at a time: itself, in files on tmpfs, in another process
 */
export function sizes({ full, only }: Wanted, availableMib: number, copies: number): readonly number[] {
  const wanted = only ?? (full ? [...quick, ...large] : quick);
  return wanted.filter((mib) => mib * copies + reserveMib <= availableMib);
}

/** The benchmarks, in the order in which they run. */
export const benchmarkNames = ['dump', 'restore', 'delta', 'freeze', 'webhook', 'generations'] as const;
/** Those that move no process: they need neither CRIU nor a store. */
export const withoutProcesses: readonly BenchmarkName[] = ['webhook'];
export type BenchmarkName = (typeof benchmarkNames)[number];

/** @throws RangeError on a word that is no benchmark */
export function choose(words: readonly string[]): readonly BenchmarkName[] {
  const names = (words.length === 0 ? ['all'] : words).flatMap((word) => {
    // that of many generations takes longer than all others
    if (word === 'all') return benchmarkNames.filter((name) => name !== 'generations');
    const name = benchmarkNames.find((known) => known === word);
    if (name === undefined) throw new RangeError(`there is no benchmark ${word}: ${benchmarkNames.join(', ')}, all`);
    return [name];
  });
  return benchmarkNames.filter((name) => names.includes(name));
}

/** "64,1024": sizes in MiB. @throws RangeError */
export function parseSizes(text: string): readonly number[] {
  return text.split(',').map((word) => {
    if (!/^[1-9]\d*$/.test(word)) throw new RangeError(`${word} is no size in MiB`);
    return Number(word);
  });
}
