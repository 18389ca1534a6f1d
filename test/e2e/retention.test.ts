import { expect } from 'chai';
import { counterCommand, counterEnv, counterStatus, memoryIsIntact } from './support/counter.ts';
import { apply, kubectl } from './support/kubectl.ts';
import { move } from './support/move.ts';
import { createNamespace, deleteNamespace, images } from './support/suite.ts';
import { until } from './support/until.ts';
import { deployment, onlyPod, type Pod } from './support/workload.ts';

const namespace = 'podferry-retention';
const name = 'counter';
const moves = 3;
/** The operator's default. */
const keptCheckpoints = 2;

/** podferry-inspect, as the README says to call it. */
async function inspect(args: readonly string[], masterKey = ''): Promise<string> {
  const inPod = ['exec', '-i', '-n', 'migration-system', 'deploy/podferry-operator', '--'];
  return kubectl([...inPod, 'node', '/app/podferry-inspect.mjs', ...args], { input: masterKey });
}

describe('what is in storage after several moves', function () {
  this.timeout(240_000);
  let pod: Pod;

  before(async () => {
    await createNamespace(namespace);
    const container = { command: counterCommand, env: counterEnv(16) };
    await apply(deployment({ namespace, name, image: images().counter, container }));
    pod = await onlyPod(namespace, name);
    await until('its memory is ready', async () => (await counterStatus(namespace, pod)).count > 0);
  });
  after(() => deleteNamespace(namespace));

  const checkpoints = async (): Promise<readonly string[]> =>
    (await inspect(['list', '--prefix', `podferry/${namespace}/`]))
      .split('\n')
      .filter((line) => line.includes('manifest'));

  it('older checkpoints are collected, the newest ones kept', async () => {
    for (let i = 0; i < moves; i += 1) {
      await move(namespace, pod);
      pod = await onlyPod(namespace, name);
    }
    expect(await memoryIsIntact(namespace, pod)).to.equal(true);
    await until('the oldest is gone', async () => (await checkpoints()).length === keptCheckpoints);
  });

  it('podferry-inspect opens every frame of them with the master key', async () => {
    const secret = ['get', 'secret', '-n', 'migration-system', 'podferry-master-key', '-o', 'jsonpath={.data.key}'];
    const said = await inspect(
      ['verify', '--prefix', `podferry/${namespace}/`, '--master-key-file', '-'],
      await kubectl(secret),
    );
    expect(said.split('\n').filter((line) => line.includes('manifest'))).to.have.length(keptCheckpoints);
  });
});
