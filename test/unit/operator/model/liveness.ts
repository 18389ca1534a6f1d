import { isOwed, type Graph } from './explore.ts';

/**
 * What keeps a Migration from coming to its end although nothing goes wrong any more, undefined when nothing does. Only steps that
 * are owed count: no fault, no late message, no user who tries again. From each state an end must be within reach, and no circle may
 * go on for ever in which each owed step that stays possible is taken again and again.
 * @returns the number of a state that shows it
 */
export function stuckState(graph: Graph): { readonly state: number; readonly why: string } | undefined {
  const owed = graph.kinds.map(isOwed);
  const edges = edgesOf(graph, owed);
  const unreached = withoutEnd(graph, owed);
  if (unreached !== undefined) return { state: unreached, why: 'no end can be reached' };
  const circle = fairCircle(graph, edges);
  return circle === undefined ? undefined : { state: circle, why: 'a fair circle never ends' };
}

interface Edges {
  /** The owed steps of state i are those from first[i] to first[i + 1]. */
  readonly first: Int32Array;
  readonly to: Int32Array;
  readonly kind: Int32Array;
}

/** Steps in the order of their states, as they were found. */
function edgesOf({ from, to, kind, isEnd }: Graph, owed: readonly boolean[]): Edges {
  const kept = from.flatMap((_, at) => (owed[kind[at] ?? 0] === true ? [at] : []));
  const first = new Int32Array(isEnd.length + 1);
  for (const at of kept) first[(from[at] ?? 0) + 1] = (first[(from[at] ?? 0) + 1] ?? 0) + 1;
  for (let state = 0; state < isEnd.length; state += 1)
    first[state + 1] = (first[state + 1] ?? 0) + (first[state] ?? 0);
  return {
    first,
    to: Int32Array.from(kept, (at) => to[at] ?? 0),
    kind: Int32Array.from(kept, (at) => kind[at] ?? 0),
  };
}

/** Backwards from all ends. */
function withoutEnd({ from, to, kind, isEnd }: Graph, owed: readonly boolean[]): number | undefined {
  const head = new Int32Array(isEnd.length).fill(-1);
  const next = new Int32Array(to.length).fill(-1);
  to.forEach((state, at) => {
    if (owed[kind[at] ?? 0] !== true) return;
    next[at] = head[state] ?? -1;
    head[state] = at;
  });
  const reaches = Uint8Array.from(isEnd, Number);
  const open = isEnd.flatMap((is, state) => (is ? [state] : []));
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    for (let at = head[state] ?? -1; at >= 0; at = next[at] ?? -1) {
      const before = from[at] ?? 0;
      if (reaches[before] === 1) continue;
      reaches[before] = 1;
      open.push(before);
    }
  }
  const missed = reaches.indexOf(0);
  return missed < 0 ? undefined : missed;
}

/** A strongly connected part without an end, in which no kind of owed step is possible everywhere and always leads out. */
function fairCircle({ isEnd, isReduced }: Graph, edges: Edges): number | undefined {
  const part = partsOf(isEnd.length, edges);
  const inside = new Map<number, Map<number, { states: number; stays: boolean }>>();
  const sizes = new Map<number, number>();
  const hasCircle = new Set<number>();
  const hasEnd = new Set<number>();
  for (let state = 0; state < isEnd.length; state += 1) {
    const mine = part[state] ?? 0;
    if (isReduced[state] !== true) sizes.set(mine, (sizes.get(mine) ?? 0) + 1);
    if (isEnd[state] === true) hasEnd.add(mine);
    for (let at = edges.first[state] ?? 0; at < (edges.first[state + 1] ?? 0); at += 1) {
      if (part[edges.to[at] ?? 0] === mine) hasCircle.add(mine);
    }
  }
  for (let state = 0; state < isEnd.length; state += 1) {
    const mine = part[state] ?? 0;
    if (!hasCircle.has(mine) || hasEnd.has(mine)) continue;
    const kinds = inside.get(mine) ?? new Map<number, { states: number; stays: boolean }>();
    inside.set(mine, kinds);
    const seen = new Set<number>();
    for (let at = edges.first[state] ?? 0; at < (edges.first[state + 1] ?? 0); at += 1) {
      const kind = edges.kind[at] ?? 0;
      const known = kinds.get(kind) ?? { states: 0, stays: false };
      known.stays ||= part[edges.to[at] ?? 0] === mine;
      if (!seen.has(kind) && isReduced[state] !== true) known.states += 1;
      seen.add(kind);
      kinds.set(kind, known);
    }
  }
  for (const [mine, kinds] of inside) {
    const leaves = [...kinds.values()].some(({ states, stays }) => !stays && states === sizes.get(mine));
    if (!leaves) return part.indexOf(mine);
  }
  return undefined;
}

/** Tarjan's strongly connected components, without recursion. @returns the part of each state */
function partsOf(count: number, { first, to }: Edges): Int32Array {
  const index = new Int32Array(count).fill(-1);
  const low = new Int32Array(count);
  const part = new Int32Array(count).fill(-1);
  const at = Int32Array.from(first);
  const stack: number[] = [];
  let found = 0;
  let parts = 0;
  for (let root = 0; root < count; root += 1) {
    if (index[root] !== -1) continue;
    const path = [root];
    for (let state = path.at(-1); state !== undefined; state = path.at(-1)) {
      if (index[state] === -1) {
        index[state] = low[state] = found;
        found += 1;
        stack.push(state);
      }
      const edge = at[state] ?? 0;
      if (edge < (first[state + 1] ?? 0)) {
        at[state] = edge + 1;
        const next = to[edge] ?? 0;
        if (index[next] === -1) path.push(next);
        else if (part[next] === -1) low[state] = Math.min(low[state] ?? 0, index[next] ?? 0);
        continue;
      }
      path.pop();
      const before = path.at(-1);
      if (before !== undefined) low[before] = Math.min(low[before] ?? 0, low[state] ?? 0);
      if (low[state] !== index[state]) continue;
      for (let member = stack.pop(); member !== undefined; member = stack.pop()) {
        part[member] = parts;
        if (member === state) break;
      }
      parts += 1;
    }
  }
  return part;
}
