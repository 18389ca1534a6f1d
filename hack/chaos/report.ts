import type { RunResult } from './run.ts';

/** One line of a campaign's file. */
export type Entry = RunResult & { readonly run: number };

const columns = ['fault', 'killed in', 'outcome', 'runs', 'wrong'] as const;

/** How often each fault, in each phase, came to which end. */
export function toTable(entries: readonly Entry[]): string {
  const counts = new Map<string, { runs: number; wrong: number }>();
  for (const { fault, struckIn, outcome, wrong } of entries) {
    const key = [fault.victim, struckIn ?? '(not met)', outcome].join('\t');
    const count = counts.get(key) ?? { runs: 0, wrong: 0 };
    counts.set(key, { runs: count.runs + 1, wrong: count.wrong + (wrong.length > 0 ? 1 : 0) });
  }
  const rows = [...counts]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([key, { runs, wrong }]) => [...key.split('\t'), String(runs), String(wrong)]);
  const all = [[...columns], ...rows];
  const widths = columns.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all
    .map((row) =>
      row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export function toSummary(entries: readonly Entry[]): string {
  const wrong = entries.filter((entry) => entry.wrong.length > 0).length;
  return `${entries.length} runs, ${wrong} wrong`;
}
