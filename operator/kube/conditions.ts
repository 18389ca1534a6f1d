/** A condition of one of our objects. */
export interface ConditionOf<Type extends string> {
  type: Type;
  status: 'True' | 'False' | 'Unknown';
  reason: string;
  message: string;
  lastTransitionTime: string;
  observedGeneration: number;
}

export interface ConditionValue {
  readonly status: 'True' | 'False' | 'Unknown';
  /** PascalCase. */
  readonly reason: string;
  readonly message: string;
}

export function conditionIn<Type extends string>(
  conditions: readonly ConditionOf<Type>[] | undefined,
  type: NoInfer<Type>,
): ConditionOf<Type> | undefined {
  return conditions?.find((each) => each.type === type);
}

const maxMessageChars = 1_000;

/**
 * The conditions with one of them set; its time changes only when its status does. The same array when nothing changes.
 * @param generation of the object that the value was found out for
 */
export function withConditionIn<Type extends string>(
  conditions: ConditionOf<Type>[],
  type: NoInfer<Type>,
  value: ConditionValue,
  generation: number,
  nowMs: number,
): ConditionOf<Type>[] {
  const before = conditionIn(conditions, type);
  const message = value.message.slice(0, maxMessageChars);
  if (before?.status === value.status && before.reason === value.reason && before.message === message) {
    return conditions;
  }
  const condition: ConditionOf<Type> = {
    type,
    status: value.status,
    reason: value.reason,
    message,
    lastTransitionTime: before?.status === value.status ? before.lastTransitionTime : isoTime(nowMs),
    observedGeneration: generation,
  };
  return before === undefined
    ? [...conditions, condition]
    : conditions.map((each) => (each === before ? condition : each));
}

/** The conditions of `after` that say something else than in `before`. */
export function changedConditionsOf<Type extends string>(
  before: readonly ConditionOf<Type>[],
  after: readonly ConditionOf<Type>[],
): readonly ConditionOf<Type>[] {
  return after.filter((condition) => {
    const was = before.find((each) => each.type === condition.type);
    return was?.status !== condition.status || was.reason !== condition.reason;
  });
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
