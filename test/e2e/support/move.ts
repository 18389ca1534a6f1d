import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { annotations } from '../../../proto/names.ts';
import { MigrationStatus } from '../../../proto/migration.ts';
import { getJson, kubectl } from './kubectl.ts';
import type { Pod } from './workload.ts';

export interface FinishedMigration {
  readonly name: string;
  readonly status: MigrationStatus;
}

interface Raw {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly podName: string };
  readonly status?: unknown;
}

export async function migrationsOf(namespace: string, pod: string): Promise<readonly FinishedMigration[]> {
  const { items } = await getJson<{ items: readonly Raw[] }>(['get', 'migrations.migration.io', '-n', namespace]);
  return items
    .filter(({ spec }) => spec.podName === pod)
    .map(({ metadata, status }) => ({ name: metadata.name, status: MigrationStatus.parse(status ?? {}) }));
}

/** Asks for a move as a user does: by annotation. */
export async function requestMove(namespace: string, pod: string, targetNode?: string): Promise<void> {
  const node = targetNode === undefined ? [] : [`${annotations.targetNode}=${targetNode}`];
  await kubectl([
    'annotate',
    'pod',
    '-n',
    namespace,
    pod,
    `${annotations.trigger}=requested`,
    `${annotations.reason}=test`,
    ...node,
  ]);
}

/** The pod's newest Migration, once it has ended one way or the other. */
export async function finishedMigration(
  namespace: string,
  pod: string,
  timeoutMs = 90_000,
): Promise<FinishedMigration> {
  await watchForEnd(namespace, pod, timeoutMs);
  const all = await migrationsOf(namespace, pod);
  const ended = all.findLast(({ status }) => hasEnded(status.phase));
  if (ended !== undefined) return ended;
  const conditions = JSON.stringify(all.at(-1)?.status.conditions);
  throw new Error(`the Migration of ${pod} ends: not within ${timeoutMs} ms: ${conditions}`);
}

const hasEnded = (phase: string | undefined): boolean => phase === 'Succeeded' || phase === 'Failed';

/** A watch, since a kubectl for each look would take a fifth of a small machine from the move that is looked at. */
async function watchForEnd(namespace: string, pod: string, timeoutMs: number): Promise<void> {
  const columns = 'custom-columns=POD:.spec.podName,PHASE:.status.phase';
  const child = spawn(
    'kubectl',
    ['get', 'migrations.migration.io', '-n', namespace, '--watch', '--no-headers', '-o', columns],
    { stdio: ['ignore', 'pipe', 'inherit'], timeout: timeoutMs },
  );
  for await (const line of createInterface({ input: child.stdout })) {
    const [name, phase] = line.split(/\s+/);
    if (name === pod && hasEnded(phase)) break;
  }
  child.kill();
}

/** Moves the pod and requires success. */
export async function move(
  namespace: string,
  pod: Pod,
  targetNode?: string,
  timeoutMs?: number,
): Promise<FinishedMigration> {
  await requestMove(namespace, pod.metadata.name, targetNode);
  const migration = await finishedMigration(namespace, pod.metadata.name, timeoutMs);
  if (migration.status.phase !== 'Succeeded')
    throw new Error(`move of ${pod.metadata.name} failed: ${JSON.stringify(migration.status, undefined, 1)}`);
  return migration;
}
