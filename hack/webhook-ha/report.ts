import { summarize } from '../bench/statistics.ts';
import type { Asked } from './load.ts';

/** Something that was done to the cluster while the load went on. */
export interface Happened {
  readonly what: string;
  /** Milliseconds since the campaign began; `toMs` when everything was as before again. */
  readonly fromMs: number;
  readonly toMs: number;
  /** Why all was not as before again. */
  readonly failure?: string;
}

export interface Run {
  readonly asked: readonly Asked[];
  readonly happened: readonly Happened[];
}

const columns = ['while', 'from s', 'to s', 'asked', 'refused', 'not injected', 'p50 ms', 'p99 ms', 'max ms'] as const;

/** A Deployment that was refused, or went past the webhook although it had opted in. */
export const isFailed = ({ outcome }: Asked): boolean => outcome !== 'injected';

/** A row for each event, one for the time between them, and one for all. */
export function toTable({ asked, happened }: Run): string {
  const within = ({ fromMs, toMs }: Happened, { atMs, tookMs }: Asked): boolean =>
    atMs <= toMs && atMs + tookMs >= fromMs;
  const rows = [
    ...happened.map((one) =>
      row(
        one.what,
        asked.filter((each) => within(one, each)),
        one,
      ),
    ),
    row(
      'nothing happens',
      asked.filter((each) => !happened.some((one) => within(one, each))),
    ),
    row('all', asked, { fromMs: 0, toMs: Math.max(0, ...asked.map(({ atMs, tookMs }) => atMs + tookMs)) }),
  ];
  const all = [[...columns], ...rows];
  const widths = columns.map((_, column) => Math.max(...all.map((cells) => (cells[column] ?? '').length)));
  return all
    .map((cells) => cells.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))))
    .map((cells) => cells.join('  ').trimEnd())
    .join('\n');
}

function row(
  what: string,
  asked: readonly Asked[],
  span?: { readonly fromMs: number; readonly toMs: number },
): string[] {
  const seconds = (ms: number | undefined): string => (ms === undefined ? '' : (ms / 1000).toFixed(1));
  const count = (outcome: Asked['outcome']): string => String(asked.filter((one) => one.outcome === outcome).length);
  const took = asked.length === 0 ? undefined : summarize(asked.map(({ tookMs }) => tookMs));
  return [
    what,
    seconds(span?.fromMs),
    seconds(span?.toMs),
    String(asked.length),
    count('refused'),
    count('not injected'),
    ...[took?.p50, took?.p99, took?.max].map((ms) => ms?.toFixed(1) ?? ''),
  ];
}

/** "30000 asked (120 stored), 0 failed", and the events that did not end well. */
export function toSummary({ asked, happened }: Run): string {
  const broken = happened.flatMap(({ what, failure }) => (failure === undefined ? [] : [`${what}: ${failure}`]));
  return [counts(asked), ...broken].join('\n');
}

/** Whether every Deployment went through the injection and every event came to its end. */
export function isGood({ asked, happened }: Run): boolean {
  return !asked.some(isFailed) && happened.every(({ failure }) => failure === undefined);
}

function counts(asked: readonly Asked[]): string {
  return `${asked.length} asked (${asked.filter(({ isReal }) => isReal).length} stored), ${asked.filter(isFailed).length} failed`;
}
