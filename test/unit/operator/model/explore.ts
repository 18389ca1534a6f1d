import { isEnd, brokenPromise } from './invariants.ts';
import { chances, faults } from './faults.ts';
import { progress, takeSteps, writeSteps, type Rules, type Step } from './progress.ts';
import { settled, soleStep, writers, type Bounds } from './reduce.ts';
import { secondTry } from './second-try.ts';
import { canonical, firstState, keyOfState, type State } from './state.ts';

/** Numbers of states and of kinds of steps, of all steps that were found. */
export interface Graph {
  readonly from: readonly number[];
  readonly to: readonly number[];
  readonly kind: readonly number[];
  readonly kinds: readonly string[];
  readonly isEnd: readonly boolean[];
  /** Not all of its steps were taken: the others are possible after the one that was. */
  readonly isReduced: readonly boolean[];
}

export interface Explored {
  readonly states: number;
  readonly transitions: number;
  readonly depth: number;
  readonly isComplete: boolean;
  readonly graph: Graph;
  readonly violation?: Violation;
  /** How the model gets to a state. */
  trace(state: number): readonly string[];
}

export interface Violation {
  readonly promise: string;
  readonly trace: readonly string[];
}

/** Each step is owed by somebody (progress), or by nobody (faults, chances); without those that the reduction makes needless. */
export function* stepsFrom(s: State, rules: Rules, bounds: Bounds): Generator<Step> {
  const sole = soleStep(s);
  if (sole === undefined) {
    yield* progress(s, rules);
    yield* chances(s, bounds.moves, rules);
    yield* faults(s, bounds);
  } else if ('takes' in sole) {
    yield* takeSteps(s, sole.takes, rules);
  } else {
    yield* writeSteps(s, sole.arrivesAt, rules);
    for (const step of faults(s, bounds)) if (writers.some((kind) => step.kind.endsWith(kind))) yield step;
  }
}

export function isOwed(kind: string): boolean {
  return !/^(FAULT|LATE|AGAIN): /.test(kind);
}

/** Breadth first through all states within the bounds; ends at the first broken promise, whose trace is then the shortest. */
export function explore(rules: Rules, bounds: Bounds): Explored {
  const first = bounds.leftovers.length > 0 ? secondTry(bounds) : firstState(bounds.faults);
  const numbers = new Map<string, number>([[keyOfState(first), 0]]);
  const open: (State | undefined)[] = [first];
  const parents: number[] = [-1];
  const depths: number[] = [0];
  const kindNumbers = new Map<string, number>();
  const graph = {
    from: [] as number[],
    to: [] as number[],
    kind: [] as number[],
    isEnd: [isEnd(first)],
    isReduced: [] as boolean[],
  };

  const pathTo = (state: number): readonly number[] => {
    const path: number[] = [];
    for (let at = state; at >= 0; at = parents[at] ?? -1) path.unshift(at);
    return path;
  };

  const trace = (state: number): readonly string[] => {
    let at = first;
    const lines: string[] = [];
    for (const number of pathTo(state).slice(1)) {
      for (const { kind, words, state: next } of stepsFrom(at, rules, bounds)) {
        const reached = canonical(settled(next, bounds, rules.planning));
        if (numbers.get(keyOfState(reached)) !== number) continue;
        lines.push(words === '' ? kind : `${kind}: ${words}`);
        at = reached;
        break;
      }
    }
    return lines;
  };

  const result = (violation?: Violation): Explored => ({
    states: open.length,
    transitions: graph.to.length,
    depth: depths.at(-1) ?? 0,
    isComplete: violation === undefined && open.length < bounds.maxStates,
    graph: { ...graph, kinds: [...kindNumbers.keys()] },
    trace,
    ...(violation === undefined ? {} : { violation }),
  });

  for (let at = 0; at < open.length; at += 1) {
    const state = open[at];
    open[at] = undefined;
    if (state === undefined) continue;
    graph.isReduced.push(soleStep(state) !== undefined);
    for (const step of stepsFrom(state, rules, bounds)) {
      const next = canonical(settled(step.state, bounds, rules.planning));
      const key = keyOfState(next);
      let number = numbers.get(key);
      if (number === at) continue;
      if (number === undefined) {
        if (open.length >= bounds.maxStates) return result();
        number = open.length;
        numbers.set(key, number);
        open.push(next);
        parents.push(at);
        depths.push((depths[at] ?? 0) + 1);
        graph.isEnd.push(isEnd(next));
        const promise = step.breach ?? brokenPromise(next);
        if (promise !== undefined) return result({ promise, trace: trace(number) });
      } else if (step.breach !== undefined) {
        return result({ promise: step.breach, trace: [...trace(at), `${step.kind}: ${step.words}`] });
      }
      let kind = kindNumbers.get(step.kind);
      if (kind === undefined) kindNumbers.set(step.kind, (kind = kindNumbers.size));
      graph.from.push(at);
      graph.to.push(number);
      graph.kind.push(kind);
    }
  }
  return result();
}
