import { strategies, type Strategy } from '../../proto/migration.ts';
import { builtInPolicy, intervalMsOf } from '../../proto/policy.ts';
import type { MigratableAppSpec } from '../../proto/migratable-app.ts';
import { annotations } from '../../proto/names.ts';

/** A ConfigMap that says something of policies. */
export interface ConfigSource {
  /** `ConfigMap ns/name`. */
  readonly place: string;
  /** Undefined: the ConfigMap that is asked for does not exist. */
  readonly data: Readonly<Record<string, string>> | undefined;
}

/** The places where a policy may be written, the first that says something deciding. */
export interface PolicySources {
  readonly podAnnotations: Readonly<Record<string, string>>;
  /** The MigratableApp of the pod's workload. */
  readonly app: { readonly place: string; readonly spec: MigratableAppSpec } | undefined;
  /** The ConfigMap that the pod names. */
  readonly config: ConfigSource | undefined;
  /** The installation's ConfigMap; undefined when there is none. */
  readonly defaults: ConfigSource | undefined;
}

/** A value and who said it; or what is wrong in the place that decides. */
export type Setting<T> =
  | { readonly isValid: true; readonly value: T; readonly place: string }
  | { readonly isValid: false; readonly message: string };

export interface Policy {
  /** 0: never. */
  readonly intervalMs: Setting<number>;
  readonly strategy: Setting<Strategy>;
  readonly migrationTimeoutSeconds: Setting<number>;
}

interface Field<T> {
  readonly annotation: string;
  /** Of the ConfigMaps. */
  readonly key: string;
  readonly inApp: (spec: MigratableAppSpec) => string | number | undefined;
  /** @returns undefined when the text means nothing */
  readonly parse: (text: string) => T | undefined;
  /** What the text should have been. */
  readonly expected: string;
  readonly builtIn: T;
}

const interval: Field<number> = {
  annotation: annotations.interval,
  key: 'interval',
  inApp: ({ checkpointPolicy }) => checkpointPolicy?.interval,
  parse: intervalMsOf,
  expected: 'a duration such as 30s or 1h30m, from 5s to 30 days, or 0s',
  builtIn: builtInPolicy.intervalMs,
};

const strategy: Field<Strategy> = {
  annotation: annotations.strategy,
  key: 'strategy',
  inApp: ({ migrationPolicy }) => migrationPolicy?.strategy,
  parse: (text) => strategies.find((each) => each === text),
  expected: `one of ${strategies.join(', ')}`,
  builtIn: builtInPolicy.strategy,
};

const migrationTimeoutSeconds: Field<number> = {
  annotation: annotations.migrationTimeout,
  key: 'migrationTimeoutSeconds',
  inApp: ({ migrationPolicy }) => migrationPolicy?.migrationTimeoutSeconds,
  parse: (text) => {
    const seconds = /^\d{1,5}$/.test(text) ? Number(text) : 0;
    return seconds >= 5 && seconds <= 86_400 ? seconds : undefined;
  },
  expected: 'a number of seconds from 5 to 86400',
  builtIn: builtInPolicy.migrationTimeoutSeconds,
};

/**
 * The policy of one pod: pod annotation > MigratableApp > the ConfigMap that migration.io/config names > migration-defaults > built in, each setting
 * for itself. A value that means nothing, or a ConfigMap that is not there, is named; the places after it are not asked. Pure.
 */
export function resolvePolicy(sources: PolicySources): Policy {
  return {
    intervalMs: resolve(interval, sources),
    strategy: resolve(strategy, sources),
    migrationTimeoutSeconds: resolve(migrationTimeoutSeconds, sources),
  };
}

/** What of a MigratableApp means nothing although its schema lets it in. */
export function invalidInApp(place: string, spec: MigratableAppSpec): readonly string[] {
  const sources = { podAnnotations: {}, app: { place, spec }, config: undefined, defaults: undefined };
  return problemsOf(resolvePolicy(sources));
}

/** What is wrong, in words; empty when every setting is valid. */
export function problemsOf(policy: Policy): readonly string[] {
  return Object.values(policy).flatMap((setting: Setting<unknown>) => (setting.isValid ? [] : [setting.message]));
}

interface Said {
  readonly place: string;
  readonly text: string | undefined;
}

function resolve<T>(field: Field<T>, sources: PolicySources): Setting<T> {
  for (const level of levelsOf(field, sources)) {
    const said = level();
    if (said === undefined) continue;
    const { place, text } = said;
    if (text === undefined) return { isValid: false, message: `${place} does not exist` };
    const value = field.parse(text);
    if (value !== undefined) return { isValid: true, value, place };
    return { isValid: false, message: `${place}: "${text.slice(0, 100)}" is not ${field.expected}` };
  }
  return { isValid: true, value: field.builtIn, place: 'built in' };
}

/** From the first to the last; each says nothing, something, or that it is not there. */
function levelsOf<T>(field: Field<T>, sources: PolicySources): readonly (() => Said | undefined)[] {
  const { podAnnotations, app, config, defaults } = sources;
  return [
    () => textAt(`annotation ${field.annotation}`, podAnnotations[field.annotation]),
    () => app && textAt(`${app.place}: ${field.key}`, field.inApp(app.spec)?.toString()),
    () => inConfig(field, config),
    () => inConfig(field, defaults),
  ];
}

function inConfig<T>(field: Field<T>, config: ConfigSource | undefined): Said | undefined {
  if (config === undefined) return undefined;
  if (config.data === undefined) return { place: config.place, text: undefined };
  return textAt(`${config.place}: ${field.key}`, config.data[field.key]);
}

function textAt(place: string, text: string | undefined): Said | undefined {
  return text === undefined ? undefined : { place, text };
}
