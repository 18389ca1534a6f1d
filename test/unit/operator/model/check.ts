import { explore, type Explored, type Violation } from './explore.ts';
import { stuckState } from './liveness.ts';
import type { Rules } from './progress.ts';
import type { Bounds } from './reduce.ts';

export interface Outcome {
  readonly explored: Explored;
  /** The shortest way to the first broken promise, or to a state from which a Migration may never end. */
  readonly problem: Violation | undefined;
}

/** Explores, and when nothing was broken and all was seen, looks for what may never end. */
export function check(rules: Rules, bounds: Bounds): Outcome {
  const explored = explore(rules, bounds);
  if (explored.violation !== undefined || !explored.isComplete) return { explored, problem: explored.violation };
  const stuck = stuckState(explored.graph);
  if (stuck === undefined) return { explored, problem: undefined };
  return { explored, problem: { promise: stuck.why, trace: explored.trace(stuck.state) } };
}
