/** What a process of the witness said; see witness.c. */
export type Line =
  | { readonly kind: 'up'; readonly role: string; readonly id: string }
  | { readonly kind: 'beat'; readonly role: string; readonly id: string; readonly ticks: number; readonly atUs: number }
  | {
      readonly kind: 'check';
      readonly role: string;
      readonly id: string;
      readonly ticks: number;
      readonly pages: number;
      readonly bad: number;
    };

export function parseLine(text: string): Line | undefined {
  const [role = '', kind, id = '', ...numbers] = text.split(' ');
  const [a = 0, b = 0, c = 0] = numbers.map(Number);
  if (kind === 'up') return { kind, role, id };
  if (kind === 'beat') return { kind, role, id, ticks: a, atUs: b };
  if (kind === 'check') return { kind, role, id, ticks: a, pages: b, bad: c };
  return undefined;
}

/** The lines of one pod, since the run began. */
export interface Trace {
  readonly pod: 'source' | 'target';
  readonly lines: readonly Line[];
}

export interface Verdict {
  readonly wrong: readonly string[];
  /** Times a copy went back to its checkpoint: it had lost pages, and was restored again. */
  readonly rewinds: number;
}

/**
 * Whether all that was heard can have come from one process: its copies took turns, once; its clock never went back, but for a target that was
 * restored again, and then not to before the source's last word; every page it ever looked at was right; and it was not started afresh.
 * @param ids of the witness, by role
 */
export function judge(traces: readonly Trace[], ids: ReadonlyMap<string, string>): Verdict {
  const wrong: string[] = [];
  let rewinds = 0;
  for (const { pod, lines } of traces) {
    for (const line of lines) {
      if (line.kind === 'up') wrong.push(`${line.role} was started afresh in the ${pod}`);
      else if (line.id !== ids.get(line.role)) wrong.push(`${line.role} of the ${pod} is another one`);
      if (line.kind === 'check' && line.bad > 0) wrong.push(`${line.bad} wrong pages of ${line.role} in the ${pod}`);
    }
  }
  for (const role of ids.keys()) {
    const [source = [], target = []] = (['source', 'target'] as const).map((pod) =>
      traces
        .filter((trace) => trace.pod === pod)
        .flatMap(({ lines }) => lines.flatMap((line) => (line.kind === 'beat' && line.role === role ? [line] : []))),
    );
    const lastOfSource = source.at(-1);
    const firstOfTarget = target[0];
    if (lastOfSource !== undefined && firstOfTarget !== undefined && firstOfTarget.atUs <= lastOfSource.atUs) {
      wrong.push(`${role} ran in source and target at once: ${lastOfSource.atUs - firstOfTarget.atUs} us`);
    }
    for (const [at, beat] of source.entries()) {
      const before = source[at - 1];
      if (before !== undefined && beat.ticks < before.ticks) wrong.push(`${role} went back in time in the source`);
    }
    const checkpoint = lastOfSource?.ticks ?? 0;
    let last = checkpoint;
    for (const { ticks } of target) {
      if (ticks < checkpoint) wrong.push(`${role} went back to before its checkpoint: ${ticks} < ${checkpoint}`);
      else if (ticks < last) rewinds += 1;
      last = ticks;
    }
  }
  return { wrong: [...new Set(wrong)], rewinds };
}
