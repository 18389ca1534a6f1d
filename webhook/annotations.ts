import { modeNames, strategies } from '../proto/migration.ts';
import { intervalMsOf } from '../proto/policy.ts';
import { annotations, group } from '../proto/names.ts';

/** What an annotation may hold, where it is read, and what a value that cannot be meant does. */
interface Rule {
  /** For the message; a sentence goes on with it. */
  readonly allowed: string;
  readonly isAllowed: (value: string) => boolean;
  /** `skip`: nothing is injected. `warning`: injected all the same, since only a later move looks at the value. */
  readonly consequence: 'skip' | 'warning';
  /** The metadata of the workload itself, its pod template, or nothing but a pod that runs. */
  readonly readOn: readonly Place[];
}

export type Place = 'workload' | 'template' | 'pod';
/** Of an object, or of several of which the first that has one decides. */
export type Annotations = Readonly<Record<string, string>>;

const everywhere: readonly Place[] = ['workload', 'template', 'pod'];
const onPods: readonly Place[] = ['template', 'pod'];
const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const image = /^[\w.:@/-]{1,512}$/;
const objectName = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const number = /^[1-9]\d{0,8}$/;

function oneOf(values: readonly string[]): Pick<Rule, 'allowed' | 'isAllowed'> {
  const quoted = values.map((value) => JSON.stringify(value));
  return {
    allowed: `${quoted.slice(0, -1).join(', ')}${quoted.length > 1 ? ' or ' : ''}${quoted.at(-1) ?? ''}`,
    isAllowed: (value) => values.includes(value),
  };
}

const matching = (pattern: RegExp, allowed: string) => ({ allowed, isAllowed: (value: string) => pattern.test(value) });
const ours: Rule = {
  allowed: 'what Podferry writes',
  isAllowed: () => true,
  consequence: 'skip',
  readOn: ['pod'],
};
const ofTemplates: Rule = { ...ours, readOn: onPods };

/** Every annotation of ours; a test holds it against the README and proto/names.ts. */
export const rules: Readonly<Record<string, Rule>> = {
  [annotations.enabled]: { ...oneOf(['true', 'false']), consequence: 'skip', readOn: everywhere },
  [annotations.container]: {
    ...matching(label, 'the name of a container'),
    consequence: 'skip',
    readOn: everywhere,
  },
  [annotations.agentImage]: { ...matching(image, 'the name of an image'), consequence: 'skip', readOn: everywhere },
  [annotations.remedies]: { ...oneOf(['auto', 'none']), consequence: 'skip', readOn: everywhere },
  [annotations.reinject]: { allowed: 'any text', isAllowed: () => true, consequence: 'warning', readOn: ['workload'] },
  [annotations.strategy]: { ...oneOf(strategies), consequence: 'warning', readOn: onPods },
  [annotations.mode]: { ...oneOf(modeNames), consequence: 'warning', readOn: onPods },
  [annotations.logUpload]: { ...oneOf(['true', 'false']), consequence: 'warning', readOn: onPods },
  [annotations.interval]: {
    allowed: 'from "5s" to "720h", or "0s"',
    isAllowed: (value) => intervalMsOf(value) !== undefined,
    consequence: 'warning',
    readOn: onPods,
  },
  [annotations.migrationTimeout]: {
    ...matching(number, 'a number of seconds'),
    consequence: 'warning',
    readOn: onPods,
  },
  [annotations.config]: { ...matching(objectName, 'the name of a ConfigMap'), consequence: 'warning', readOn: onPods },
  [annotations.trigger]: { ...oneOf(['requested']), consequence: 'warning', readOn: ['pod'] },
  [annotations.targetNode]: { ...matching(objectName, 'the name of a node'), consequence: 'warning', readOn: ['pod'] },
  [annotations.reason]: { allowed: 'any text', isAllowed: () => true, consequence: 'warning', readOn: ['pod'] },
  [annotations.injected]: ofTemplates,
  [annotations.original]: ofTemplates,
  [annotations.instance]: ours,
  [annotations.generation]: ours,
  [annotations.restore]: ours,
  [annotations.started]: ours,
  [annotations.replicaSet]: ours,
  [annotations.templateHash]: { ...ours, consequence: 'warning', readOn: ['workload'] },
};

const longestQuote = 60;

export interface Fault {
  readonly name: string;
  readonly code: 'ANNOTATION_INVALID' | 'ANNOTATION_UNKNOWN' | 'ANNOTATION_MISPLACED';
  readonly message: string;
  readonly consequence: Rule['consequence'];
}

/** Of more names that nobody knows the spelling is not looked at: it takes time, and admission has little. */
const mostUnknown = 20;

/** What is wrong with the annotations of one place, each fault with its consequence, in the order in which they stand. */
export function faultsOf(present: Annotations, place: Place): readonly Fault[] {
  let unknown = 0;
  return Object.entries(present).flatMap(([name, value]) => {
    if (!name.startsWith(`${group}/`)) return [];
    if (!Object.hasOwn(rules, name) && (unknown += 1) > mostUnknown) return [];
    const fault = faultOf(name, value, place);
    return fault === undefined ? [] : [fault];
  });
}

function faultOf(name: string, value: string, place: Place): Fault | undefined {
  const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
  if (rule === undefined) {
    const meant = nearestName(name);
    if (meant === undefined) return undefined;
    const message = `${name} is unknown; is ${meant} meant?`;
    return { name, code: 'ANNOTATION_UNKNOWN', message, consequence: 'warning' };
  }
  if (!rule.readOn.includes(place)) {
    const where = rule.readOn.includes('template') ? 'pod template' : 'pod';
    return {
      name,
      code: 'ANNOTATION_MISPLACED',
      message: `${name} stands on the ${place}; its place is a ${where}`,
      consequence: place === 'workload' ? 'warning' : rule.consequence,
    };
  }
  if (rule.isAllowed(value)) return undefined;
  const quoted = JSON.stringify(value.length > longestQuote ? `${value.slice(0, longestQuote)}...` : value);
  const message = `${name} is ${quoted}; allowed: ${rule.allowed}`;
  return { name, code: 'ANNOTATION_INVALID', message, consequence: rule.consequence };
}

/** How many letters a misspelt name may be away from the one that was meant. */
const farthest = 2;

/** The known name that an unknown one of our group is a misspelling of. */
function nearestName(name: string): string | undefined {
  const distances = Object.keys(rules).map((known) => ({ known, distance: distanceBetween(name, known) }));
  const [nearest] = distances.sort((one, other) => one.distance - other.distance);
  return nearest !== undefined && nearest.distance <= farthest ? nearest.known : undefined;
}

/** Levenshtein's distance; of lengths too far apart only that it is too far. */
export function distanceBetween(one: string, other: string): number {
  if (Math.abs(one.length - other.length) > farthest) return farthest + 1;
  let previous = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let row = 1; row <= one.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= other.length; column += 1) {
      const replaced = (previous[column - 1] ?? 0) + (one[row - 1] === other[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[other.length] ?? 0;
}
