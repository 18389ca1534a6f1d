import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { parse } from 'yaml';
import { MigratableAppStatus } from '../../proto/migratable-app.ts';
import { counterStatus, memoryIsIntact, numbersInFile } from './support/counter.ts';
import { apply, getJson, kubectl } from './support/kubectl.ts';
import { move } from './support/move.ts';
import { createNamespace, deleteNamespace, images } from './support/suite.ts';
import { until } from './support/until.ts';
import { onlyPod } from './support/workload.ts';

const namespace = 'podferry-mapp';
const name = 'counter';

interface Sample {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: { readonly template: { readonly spec: { readonly containers: { image: string }[] } } };
}

/** The README's MigratableApp, as it stands there but for the image. */
function sampleOfReadme(image: string): Sample {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const blocks = Array.from(readme.matchAll(/```yaml\n([\s\S]*?)```/g), ([, text = '']) => text);
  const [text, ...others] = blocks.filter((block) => block.includes('kind: MigratableApp'));
  if (text === undefined || others.length > 0) throw new Error('the README has not one sample of a MigratableApp');
  return parse(text.replace(/image: .*/, `image: ${image}`)) as Sample;
}

async function status(): Promise<MigratableAppStatus> {
  const found = await getJson<{ status?: unknown }>(['get', 'migratableapps.migration.io', '-n', namespace, name]);
  return MigratableAppStatus.parse(found.status ?? {});
}

describe("the README's MigratableApp", function () {
  this.timeout(300_000);
  const seen = new Set<string>();

  before(() => createNamespace(namespace));
  after(async () => {
    await kubectl(['delete', 'migratableapps.migration.io,checkpoints.migration.io', '-n', namespace, '--all']);
    await deleteNamespace(namespace);
  });

  it('runs its pods, takes checkpoints on its interval, and remembers a move; the counter loses nothing', async () => {
    const sample = sampleOfReadme(images().counter);
    expect(sample.metadata.name).to.equal(name);
    await apply({ ...sample, metadata: { ...sample.metadata, namespace } });
    let pod = await onlyPod(namespace, name);
    const first = await until('it counts', async () => {
      const counter = await counterStatus(namespace, pod);
      return counter.count > 0 && counter;
    });
    await until(
      'a checkpoint was taken',
      async () => noted((await status()).checkpointStatus?.lastCheckpointName, 1),
      90_000,
    );
    const node = pod.spec.nodeName;
    const moved = await move(namespace, pod);
    pod = await onlyPod(namespace, name);
    expect(pod.spec.nodeName).to.not.equal(node);
    await until(
      'another was taken',
      async () => {
        const { items } = await getJson<{ items: readonly { status?: { phase?: string; generation?: number } }[] }>([
          'get',
          'checkpoints.migration.io',
          '-n',
          namespace,
        ]);
        return items.some((each) => each.status?.phase === 'Completed' && each.status.generation === 1);
      },
      90_000,
    );
    await until('it is told', async () => noted((await status()).checkpointStatus?.lastCheckpointName, 2));

    const { checkpointStatus, migrationHistory, conditions } = await status();
    expect(checkpointStatus?.count).to.be.greaterThan(0);
    expect(checkpointStatus?.totalBytes).to.be.greaterThan(0);
    expect(Date.parse(checkpointStatus?.lastCheckpointTime ?? '')).to.be.greaterThan(0);
    expect(migrationHistory).to.have.length(1);
    expect(migrationHistory?.[0]).to.include({
      name: moved.name,
      from: node,
      to: pod.spec.nodeName,
      downtimeMs: moved.status.downtimeMs,
      completedAt: moved.status.completedAt,
      outcome: 'Succeeded',
      reason: 'test',
    });
    expect(conditions?.map(({ type, status: value }) => [type, value])).to.deep.equal([
      ['PolicyValid', 'True'],
      ['WorkloadReady', 'True'],
    ]);

    const last = await counterStatus(namespace, pod);
    expect(last).to.include({ pid: first.pid, digest: first.digest });
    expect(last.count).to.be.greaterThan(first.count);
    expect(last.child).to.include({ pid: first.child.pid, intact: true });
    expect(await memoryIsIntact(namespace, pod)).to.equal(true);
    const numbers = await numbersInFile(namespace, pod);
    expect(numbers).to.deep.equal(Array.from(numbers, (_, i) => i + 1));
    const stops = await kubectl(['get', 'checkpoints.migration.io', '-n', namespace, '-o', 'wide']);
    console.log(`${stops}\n      gaps seen by the counter: ${last.gapsMs.join(', ')} ms`);
  });

  it('its checkpoints go with retention', async () => {
    await until(
      'no more than retention keeps',
      async () => ((await status()).checkpointStatus?.count ?? 9) <= 2,
      90_000,
    );
  });

  it('deleting a Checkpoint removes it from storage', async () => {
    const stored = async (id: string): Promise<boolean> => {
      const inPod = [
        'exec',
        '-n',
        'migration-system',
        'deploy/podferry-operator',
        '--',
        'node',
        '/app/podferry-inspect.mjs',
      ];
      return (await kubectl([...inPod, 'list', '--prefix', `podferry/${namespace}/`])).includes(`/${id}/manifest`);
    };
    const last = (await status()).checkpointStatus?.lastCheckpointName ?? '';
    const kind = 'checkpoints.migration.io';
    const id = await kubectl(['get', kind, '-n', namespace, last, '-o', 'jsonpath={.status.id}']);
    expect(await stored(id)).to.equal(true);
    await kubectl(['delete', kind, '-n', namespace, last, '--timeout=30s'], { timeoutMs: 40_000 });
    expect(await stored(id)).to.equal(false);
  });

  it('an annotation that means nothing is told, with its place', async () => {
    const pod = await onlyPod(namespace, name);
    await kubectl(['annotate', 'pod', '-n', namespace, pod.metadata.name, 'migration.io/interval=often']);
    await until('the Event', async () =>
      (await kubectl(['get', 'events', '-n', namespace, '-o', 'jsonpath={.items[*].message}'])).includes(
        '"often" is not',
      ),
    );
  });

  /** Whether so many different checkpoints were seen. */
  function noted(checkpoint: string | undefined, count: number): boolean {
    if (checkpoint !== undefined) seen.add(checkpoint);
    return seen.size >= count;
  }
});
