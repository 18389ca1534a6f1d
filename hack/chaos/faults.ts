import { assertNever } from '../../proto/errors.ts';
import type { Phase } from './move.ts';

/** Who is killed. `page-server`: the filler, which puts missing pages into restored processes. */
export const victims = ['source agent', 'target agent', 'page-server', 'criu dump', 'criu restore', 'store'] as const;
export type Victim = (typeof victims)[number];

/** What `--faults` names. */
export const groups: Readonly<Record<string, readonly Victim[]>> = {
  agent: ['source agent', 'target agent'],
  criu: ['criu dump', 'criu restore'],
  'page-server': ['page-server'],
  store: ['store'],
};

export interface Fault {
  readonly victim: Victim;
  /** Struck this long after the move has come to the phase; one of CRIU's, after it was seen. */
  readonly phase: Phase;
  readonly afterMs: number;
  /** Of the store: for how long. */
  readonly pauseMs: number;
}

/** How long each phase takes about, undisturbed: the moment is anywhere in it. */
const lengthMs: Readonly<Partial<Record<Phase, number>>> = {
  prepare: 900,
  copy: 900,
  freeze: 350,
  restore: 200,
  commit: 60,
  drain: 700,
};

const agentPhases: readonly Phase[] = ['prepare', 'copy', 'freeze', 'restore', 'commit', 'drain'];
const storePhases: readonly Phase[] = ['copy', 'freeze', 'restore', 'commit', 'drain'];
/** From the moment it is seen to its end. */
const dumpMs = 80;
const restoreMs = 30;
const pageServerMs = 400;

/** Numbers in [0, 1) that depend on the seed alone (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** @throws RangeError on a word that is no group of victims */
export function parseFaults(text: string): readonly Victim[] {
  return text.split(',').flatMap((word) => {
    const group = groups[word];
    if (group === undefined) throw new RangeError(`there is no fault ${word}: ${Object.keys(groups).join(', ')}`);
    return group;
  });
}

/** The fault of one run. Every run has a number of its own, so that a campaign can be taken up anywhere. */
export function faultOf(seed: number, run: number, allowed: readonly Victim[]): Fault {
  const random = randomOf(Math.imul(seed, 0x9e3779b1) ^ Math.imul(run, 0x85ebca6b));
  const one = <T>(list: readonly T[]): T => {
    const chosen = list[Math.floor(random() * list.length)];
    if (chosen === undefined) throw new RangeError('there is nothing to choose from');
    return chosen;
  };
  const victim = one(allowed);
  const within = (most: number): number => Math.round(random() * most);
  const pauseMs = 100 + within(2_400);
  switch (victim) {
    case 'criu dump':
      return { victim, phase: 'freeze', afterMs: within(dumpMs), pauseMs };
    case 'criu restore':
      return { victim, phase: 'restore', afterMs: within(restoreMs), pauseMs };
    case 'page-server':
      return { victim, phase: 'restore', afterMs: within(pageServerMs), pauseMs };
    case 'source agent':
    case 'target agent':
    case 'store': {
      const phase = one(victim === 'store' ? storePhases : agentPhases);
      return { victim, phase, afterMs: within(lengthMs[phase] ?? 0), pauseMs };
    }
    default:
      return assertNever(victim);
  }
}
