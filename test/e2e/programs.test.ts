import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import { apply, kubectl } from './support/kubectl.ts';
import { finishedMigration, move, requestMove } from './support/move.ts';
import { createNamespace, deleteNamespace, images, testbedCommand } from './support/suite.ts';
import { until } from './support/until.ts';
import { deployment, onlyPod, service, type Pod } from './support/workload.ts';

const namespace = 'podferry-programs';

/** Commands run in a client pod; the server is `http://NAME:8080` or NAME. `next` prints an acknowledged number, `check` prints ok. */
interface Program {
  readonly name: string;
  readonly container: Readonly<Record<string, unknown>>;
  readonly port: number;
  readonly fill?: string;
  readonly next: string;
  readonly check: string;
  /** The numbers of `next` start anew with each connection: only that they go on counts. */
  readonly isRestartedByReconnect?: boolean;
}

function http(name: string, command: readonly string[], more: object = {}): Program {
  return {
    name,
    container: { command, ...more },
    port: 8080,
    next: `curl --silent --fail --max-time 20 http://${name}:8080/next`,
    check: `curl --silent --fail --max-time 20 http://${name}:8080/check`,
  };
}

/** Node.js uses io_uring wherever it may, and CRIU knows nothing of it. Newer runtimes' default profiles refuse it; our test bed's does not. */
function withoutIoUring(): object {
  return testbedCommand() === undefined
    ? { type: 'RuntimeDefault' }
    : { type: 'Localhost', localhostProfile: 'no-io-uring.json' };
}

const programs: readonly Program[] = [
  {
    name: 'memcached',
    container: { command: ['memcached', '-m', '64'], securityContext: { runAsUser: 1000 } },
    port: 11211,
    fill: 'python3 /memcached-client.py memcached fill',
    next: 'timeout 20 python3 /memcached-client.py memcached next',
    check: 'python3 /memcached-client.py memcached check',
  },
  { ...http('nginx', ['nginx', '-c', '/nginx.conf']), isRestartedByReconnect: true },
  http('node', ['node', '/sequence.mjs'], { securityContext: { seccompProfile: withoutIoUring() } }),
  http('java', ['java', '-Xmx256m', '-XX:+UseG1GC', '-cp', '/classes', 'Sequence']),
  http('python', ['python3', '/sequence.py']),
];

describe('programs nobody here wrote, moved under load', function () {
  this.timeout(180_000);
  let client: string;
  const loads: ChildProcess[] = [];

  const inClient = async (script: string): Promise<string> =>
    (await kubectl(['exec', '-n', namespace, client, '--', 'sh', '-c', script])).trim();

  before(async () => {
    await createNamespace(namespace);
    await apply(
      ...programs.flatMap(({ name, container, port }) => [
        deployment({
          namespace,
          name,
          image: images().programs,
          container: { ...container, ports: [{ containerPort: port }] },
        }),
        service(namespace, name, port),
      ]),
      deployment({
        namespace,
        name: 'client',
        image: images().programs,
        container: { command: ['sleep', 'infinity'] },
        enabled: false,
      }),
    );
    client = (await onlyPod(namespace, 'client')).metadata.name;
  });
  after(async () => {
    for (const load of loads) load.kill();
    await deleteNamespace(namespace);
  });

  for (const program of programs) {
    it(`${program.name}: every acknowledged number is followed by a higher one, and all it holds is there`, async () => {
      const { name, fill, next, check } = program;
      const pod: Pod = await onlyPod(namespace, name);
      await until(`${name} answers`, async () => (await inClient(check)) !== '');
      if (fill !== undefined) expect(await inClient(fill)).to.equal('ok');
      const numbers: number[] = [];
      const load = spawn('kubectl', ['exec', '-n', namespace, client, '--', 'sh', '-c', `while :; do ${next}; done`]);
      loads.push(load);
      createInterface({ input: load.stdout }).on('line', (line) => {
        if (/^\d+$/.test(line.trim())) numbers.push(Number(line));
      });
      await until('numbers are given', async () => numbers.length > 20);
      const { status } = await move(namespace, pod);
      const atMove = numbers.length;
      await until('numbers are given after the move', async () => numbers.length > atMove + 20);
      load.kill();
      if (load.exitCode === null) await once(load, 'close');

      const repeated = numbers.filter((number, index) => index > 0 && number <= (numbers[index - 1] ?? 0));
      if (program.isRestartedByReconnect !== true) expect(repeated, 'numbers given out again').to.deep.equal([]);
      expect(await inClient(check)).to.equal('ok');
      const moved = await onlyPod(namespace, name);
      expect(moved.status.containerStatuses?.map(({ restartCount }) => restartCount)).to.satisfy((counts: number[]) =>
        counts.every((count) => count === 0),
      );
      console.log(
        `      ${numbers.length} numbers, freeze to run ${status.downtimeMs} ms,`,
        `pages ${((status.checkpoint?.pageBytes ?? 0) / 2 ** 20).toFixed(0)} MiB`,
      );
    });
  }

  it('postgres: refused by name before the freeze, and goes on', async () => {
    const name = 'postgres';
    const script =
      'PATH=$PATH:$(echo /usr/lib/postgresql/*/bin); initdb -D /tmp/data -A trust >/dev/null && exec postgres -D /tmp/data -k /tmp -c listen_addresses="*"';
    await apply(
      deployment({
        namespace,
        name,
        image: images().programs,
        container: {
          command: ['sh', '-c', script],
          securityContext: { runAsUser: 65534 },
          ports: [{ containerPort: 5432 }],
        },
      }),
    );
    const pod = await onlyPod(namespace, name);
    const ask = async (sql: string): Promise<string> =>
      (
        await kubectl([
          'exec',
          '-n',
          namespace,
          pod.metadata.name,
          '-c',
          'app',
          '--',
          'psql',
          '-h',
          '/tmp',
          '-U',
          'nobody',
          '-Atc',
          sql,
          'postgres',
        ])
      ).trim();
    await until('postgres answers', async () => (await ask('select 1')) === '1');
    await requestMove(namespace, pod.metadata.name);
    const { status } = await finishedMigration(namespace, pod.metadata.name);
    expect(status.failure?.code).to.equal('SYSV_MEMORY_IN_USE');
    expect(await ask('select 2')).to.equal('2');
    expect((await onlyPod(namespace, name)).metadata.uid).to.equal(pod.metadata.uid);
  });
});
