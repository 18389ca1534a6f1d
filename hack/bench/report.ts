import type { Lap, Summary } from './statistics.ts';

/** Where the figures were taken. */
export interface Machine {
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  readonly criu: string;
}

/** One metric of one case, beside the same of plain CRIU (or of whatever the case is measured against) in the same run. */
export interface Result extends Summary {
  /** "1GiB-2%": size of the process, and what of it changes each second. */
  readonly case: string;
  /** Its unit is in the name. */
  readonly metric: string;
  readonly baseline?: { readonly case: string; readonly p50: number };
  /** Where the time goes: medians of the steps. */
  readonly steps?: readonly Lap[];
}

/** One benchmark. Later ones keep this shape. */
export interface Report {
  readonly name: string;
  readonly machine: Machine;
  readonly results: readonly Result[];
}

/** At most two decimals: 1234.5678 -> 1234.57. */
const rounded = (value: number): number => Math.round(value * 100) / 100;

/** The report as one line of JSON. */
export function toJson(report: Report): string {
  return JSON.stringify(report, (_key, value: unknown) => (typeof value === 'number' ? rounded(value) : value));
}

/** "64MiB", "1GiB" */
export function sizeName(mib: number): string {
  return mib >= 1024 && mib % 1024 === 0 ? `${mib / 1024}GiB` : `${mib}MiB`;
}

/** Three or more digits, no more decimals than that needs. */
function figure(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : 2);
}

/** Columns as wide as their widest cell; the first is for reading, the others are numbers. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}

/** The report for people. */
export function toTable({ name, machine, results }: Report): string {
  const head = ['case', 'metric', 'n', 'p50', 'p99', 'max', 'beside', 'p50'];
  const rows = results.map((result) => [
    result.case,
    result.metric,
    String(result.n),
    ...[result.p50, result.p99, result.max].map(figure),
    result.baseline?.case ?? '',
    result.baseline === undefined ? '' : figure(result.baseline.p50),
  ]);
  const steps = results.flatMap((result) =>
    result.steps === undefined
      ? []
      : [
          `  ${result.case}, ${result.metric}: ` +
            result.steps.map(({ step, ms }) => `${step} ${figure(ms)}`).join(', '),
        ],
  );
  return [
    `${name}: ${machine.cores} cores, ${figure(machine.memoryGiB)} GiB, Linux ${machine.kernel}, Node ${machine.node}, CRIU ${machine.criu}`,
    ...aligned([head, ...rows]),
    ...(steps.length === 0 ? [] : ['where the time goes (medians, ms):', ...steps]),
  ].join('\n');
}
