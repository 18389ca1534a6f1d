import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { z } from 'zod';
import { CheckpointSpec, CheckpointStatus } from '../proto/checkpoint.ts';
import { eitherTemplateOrTarget, MigratableAppSpec, MigratableAppStatus } from '../proto/migratable-app.ts';
import { MigrationSpec, MigrationStatus } from '../proto/migration.ts';
import { group, version } from '../proto/names.ts';

/**
 * Writes manifests/base/crds from the zod schemas of proto/: one source for types, validation and the CRD.
 * With --print they go to standard output instead.
 */

type Schema = Readonly<Record<string, unknown>>;

/** zod writes these for every integer; the API server's int64 says it better. */
const zodBounds: readonly unknown[] = [Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER];

/** A structural schema: what zod says, without what the API server knows by the format already. */
function structural(schema: z.ZodType, description: string): Schema {
  return { description, ...(cleaned(z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input' })) as Schema) };
}

function cleaned(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(cleaned);
  if (typeof value !== 'object' || value === null) return value;
  const schema = value as Schema;
  const entries = Object.entries(schema)
    .filter(
      ([key, inner]) =>
        !(key === 'pattern' && schema['format'] === 'date-time') &&
        key !== '$schema' &&
        !(isBound(key) && zodBounds.includes(inner)),
    )
    .map(([key, inner]) => [key, cleaned(inner)] as const);
  return { ...Object.fromEntries(entries), ...(schema['type'] === 'integer' ? { format: 'int64' } : {}) };
}

function isBound(key: string): boolean {
  return key === 'minimum' || key === 'maximum';
}

/** Conditions are merged by their type, as those of every other resource. */
function withConditionKeys(status: Schema): Schema {
  const properties = status['properties'] as Readonly<Record<string, Schema>>;
  const conditions = {
    ...properties['conditions'],
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['type'],
  };
  return { ...status, properties: { ...properties, conditions } };
}

const column = (name: string, type: string, jsonPath: string, description: string, priority = 0) => ({
  name,
  type,
  jsonPath,
  description,
  ...(priority === 0 ? {} : { priority }),
});

interface Resource {
  readonly kind: string;
  readonly singular: string;
  readonly shortName: string;
  readonly description: string;
  readonly columns: readonly Schema[];
  readonly spec: Schema;
  readonly status: z.ZodType;
  /** The module of proto/ that it is made from. */
  readonly source: string;
}

const age = (description: string) => column('Age', 'date', '.metadata.creationTimestamp', description);

const resources: readonly Resource[] = [
  {
    kind: 'Migration',
    singular: 'migration',
    shortName: 'mig',
    description: 'One move of one pod.',
    columns: [
      column('Phase', 'string', '.status.phase', 'Where the move is'),
      column('Pod', 'string', '.spec.podName', 'The pod that moves'),
      column('From', 'string', '.status.source.node', 'Node it leaves'),
      column('To', 'string', '.status.target.node', 'Node it goes to'),
      column('Downtime', 'integer', '.status.downtimeMs', 'Milliseconds between freeze and continue'),
      age('Since it was asked for'),
      column('Reason', 'string', '.spec.reason', 'Why', 1),
      column('Failure', 'string', '.status.failure.code', 'Why it failed', 1),
    ],
    spec: structural(MigrationSpec, 'What is asked for.'),
    status: MigrationStatus,
    source: 'migration',
  },
  {
    kind: 'Checkpoint',
    singular: 'checkpoint',
    shortName: 'ckpt',
    description: 'A point that a process can be restored from.',
    columns: [
      column('Phase', 'string', '.status.phase', 'How far it is'),
      column('Pod', 'string', '.spec.podName', 'Whose process it is'),
      column('Node', 'string', '.status.source.node', 'Where that ran'),
      column('Generation', 'integer', '.status.generation', 'How many moves its instance had made'),
      column('Bytes', 'integer', '.status.totalBytes', 'In storage'),
      column('New', 'integer', '.status.newBytes', 'Of these: not shared with earlier checkpoints'),
      column('Stopped', 'integer', '.status.stoppedMs', 'Milliseconds for which the process was stopped'),
      age('Since it was asked for'),
      column('Expires', 'string', '.status.expiresAt', 'When it may be removed', 1),
      column('Parent', 'string', '.status.parent', 'The checkpoint whose pages it goes on using', 1),
      column('Migration', 'string', '.spec.migrationName', 'The move that has taken it', 1),
      column('Failure', 'string', '.status.failure.code', 'Why it failed', 1),
    ],
    spec: structural(CheckpointSpec, 'What is asked for.'),
    status: CheckpointStatus,
    source: 'checkpoint',
  },
  {
    kind: 'MigratableApp',
    singular: 'migratableapp',
    shortName: 'mapp',
    description: 'The policy of a workload, and what became of its pods.',
    columns: [
      column('Ready', 'string', '.status.conditions[?(@.type=="WorkloadReady")].status', 'Its pods can be moved'),
      column('Interval', 'string', '.spec.checkpointPolicy.interval', 'How often checkpoints are taken'),
      column('Checkpoints', 'integer', '.status.checkpointStatus.count', 'That can be restored'),
      column('Last', 'date', '.status.checkpointStatus.lastCheckpointTime', 'Since the newest of them'),
      column('Last move', 'string', '.status.migrationHistory[0].outcome', 'What came of it'),
      age('Since it was made'),
    ],
    spec: withTemplate(structural(MigratableAppSpec, 'What is asked for.')),
    status: MigratableAppStatus,
    source: 'migratable-app',
  },
];

/** The template is a pod's: its fields are the API server's business. */
function withTemplate(spec: Schema): Schema {
  const properties = spec['properties'] as Readonly<Record<string, Schema>>;
  const { description } = properties['template'] ?? {};
  const template = { description, type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  return { ...spec, oneOf: eitherTemplateOrTarget, properties: { ...properties, template } };
}

const pluralOf = ({ singular }: Resource): string => `${singular}s`;

function definitionOf(resource: Resource): Schema {
  const { kind, singular, shortName, description, columns, spec, status } = resource;
  const plural = pluralOf(resource);
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}`, labels: { 'app.kubernetes.io/part-of': 'podferry' } },
    spec: {
      group,
      scope: 'Namespaced',
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular,
        shortNames: [shortName],
        categories: ['podferry'],
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: columns,
          schema: {
            openAPIV3Schema: {
              description,
              type: 'object',
              required: ['spec'],
              properties: {
                apiVersion: { type: 'string' },
                kind: { type: 'string' },
                metadata: { type: 'object' },
                spec,
                status: withConditionKeys(structural(status, 'Written by the operator.')),
              },
            },
          },
        },
      ],
    },
  };
}

for (const resource of resources) {
  const yaml = `# Generated by hack/generate-crds.ts from proto/${resource.source}.ts: do not edit.\n${stringify(definitionOf(resource), { lineWidth: 0, aliasDuplicateObjects: false })}`;
  if (process.argv.includes('--print')) {
    process.stdout.write(`---\n${yaml}`);
    continue;
  }
  const file = join(import.meta.dirname, '../manifests/base/crds', `${pluralOf(resource)}.yaml`);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, yaml);
}
