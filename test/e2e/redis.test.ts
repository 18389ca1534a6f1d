import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import { apply, getJson, kubectl } from './support/kubectl.ts';
import { move } from './support/move.ts';
import { createNamespace, deleteNamespace, images } from './support/suite.ts';
import { until } from './support/until.ts';
import { deployment, onlyPod, service, type Pod } from './support/workload.ts';

const namespace = 'podferry-redis';
const name = 'redis';
const keys = 100_000;

/** Counts in Redis how many of key:1..key:N do not hold their own number. */
const verifyScript = `local wrong = 0
for i = 1, tonumber(ARGV[1]) do if redis.call('GET', 'fixed:' .. i) ~= tostring(i) then wrong = wrong + 1 end end
return wrong`;

describe(`redis-server with ${keys} keys under the writes of redis-benchmark`, function () {
  this.timeout(240_000);
  let pod: Pod;
  let client: string;
  let address: string;
  const children: ChildProcess[] = [];

  const inClient = (script: string, options: { readonly input?: string } = {}): Promise<string> =>
    kubectl(['exec', '-i', '-n', namespace, client, '--', 'sh', '-c', script], options);

  before(async () => {
    await createNamespace(namespace);
    const server = {
      command: ['redis-server', '--save', '', '--protected-mode', 'no'],
      ports: [{ containerPort: 6379 }],
    };
    const idle = { command: ['sleep', 'infinity'] };
    await apply(
      deployment({ namespace, name, image: images().redis, container: server }),
      service(namespace, name, 6379),
      deployment({ namespace, name: 'client', image: images().redis, container: idle, enabled: false }),
    );
    pod = await onlyPod(namespace, name);
    client = (await onlyPod(namespace, 'client')).metadata.name;
    address = (await getJson<{ spec: { clusterIP: string } }>(['get', 'service', '-n', namespace, name])).spec
      .clusterIP;
    await until('it answers', async () => (await inClient(`timeout 5 redis-cli -h ${address} PING`)).includes('PONG'));
    const commands = Array.from({ length: keys }, (_, index) => `SET fixed:${index + 1} ${index + 1}\r\n`).join('');
    expect(await inClient(`redis-cli -h ${address} --pipe`, { input: commands })).to.include(`replies: ${keys}`);
  });
  after(async () => {
    for (const child of children) child.kill();
    await deleteNamespace(namespace);
  });

  it('moves; every acknowledged write is there afterwards, and the writers go on', async () => {
    // Each printed number is an acknowledged write. After a loss the next number would be one seen before.
    const acknowledged: number[] = [];
    const writer = spawn('kubectl', [
      ...['exec', '-n', namespace, client, '--', 'sh', '-c'],
      `while :; do timeout 20 redis-cli -h ${address} INCR sequence; done`,
    ]);
    createInterface({ input: writer.stdout }).on('line', (line) => {
      const number = /^\d+$/.exec(line.trim())?.[0];
      if (number !== undefined) acknowledged.push(Number(number));
    });
    const load = spawn('kubectl', [
      ...['exec', '-n', namespace, client, '--', 'sh', '-c'],
      `while :; do timeout 30 redis-benchmark -h ${address} -t set -r 50000 -d 256 -c 20 -n 200000 -q; sleep 0.2; done >/dev/null 2>&1`,
    ]);
    children.push(writer, load);
    await until('writes are acknowledged', async () => acknowledged.length > 100);

    const { status } = await move(namespace, pod);
    const atMove = acknowledged.length;
    pod = await onlyPod(namespace, name);
    await until('writes are acknowledged by the moved redis', async () => acknowledged.length > atMove + 100);
    writer.kill();
    load.kill();
    await Promise.all([writer.exitCode ?? once(writer, 'close'), load.exitCode ?? once(load, 'close')]);

    const repeated = acknowledged.filter((value, index) => index > 0 && value <= (acknowledged[index - 1] ?? 0));
    expect(repeated, 'acknowledged numbers given out again').to.deep.equal([]);
    const last = Number(await inClient(`redis-cli -h ${address} GET sequence`));
    expect(last).to.be.at.least(acknowledged.at(-1) ?? Infinity);
    expect(
      Number(await inClient(`redis-cli -h ${address} EVAL "${verifyScript}" 0 ${keys}`)),
      'keys with a wrong value',
    ).to.equal(0);
    expect(await inClient(`redis-cli -h ${address} INFO server`)).to.include('uptime_in_seconds');
    console.log(
      `      ${acknowledged.length} acknowledged increments, freeze to run ${status.downtimeMs} ms,`,
      `pages ${((status.checkpoint?.pageBytes ?? 0) / 2 ** 20).toFixed(0)} MiB`,
    );
  });
});
