import { expect } from 'chai';
import { apiVersion } from '../../proto/names.ts';
import { counterCommand, counterEnv, counterStatus, memoryIsIntact } from './support/counter.ts';
import { apply } from './support/kubectl.ts';
import { countsOf, faultsOf, followLog, type LogFollower } from './support/log-follower.ts';
import { finishedMigration, migrationsOf, requestMove, type FinishedMigration } from './support/move.ts';
import { createNamespace, deleteNamespace, images, otherNode, testbedCommand } from './support/suite.ts';
import { agentPid, testbed } from './support/testbed.ts';
import { until } from './support/until.ts';
import { deployment, onlyPod, pods, type Pod } from './support/workload.ts';

const namespace = 'podferry-rollback';
const name = 'counter';

describe('a failure before the commit: the source continues, nothing is left over', function () {
  this.timeout(180_000);
  let pod: Pod;
  let follower: LogFollower;

  before(async function () {
    if (testbedCommand() === undefined) {
      console.log('      skipped: these tests stop the store and a kubelet, which only the test bed allows');
      this.skip();
    }
    await createNamespace(namespace);
    const container = { command: counterCommand, env: counterEnv(256) };
    await apply(deployment({ namespace, name, image: images().counter, container }));
    pod = await onlyPod(namespace, name);
    await until('the counter has its memory', () => counterStatus(namespace, pod));
    follower = followLog(namespace, pod.metadata.name, 'app');
  });
  after(() => deleteNamespace(namespace));

  /** The source is what it was: same pod, same process, counting on without a gap; the failed target is gone. */
  const expectUnharmed = async (failed: FinishedMigration): Promise<void> => {
    expect(failed.status.phase).to.equal('Failed');
    expect(failed.status.failure?.message).not.to.equal(undefined);
    expect(failed.status.conditions?.find(({ type }) => type === 'Succeeded')?.reason).to.match(/^[A-Z]/);
    const alone = await until(`${name} is alone`, async () => {
      const [first, ...others] = await pods(namespace, name);
      return others.length === 0 && first;
    });
    expect(alone.metadata.uid).to.equal(pod.metadata.uid);
    pod = await onlyPod(namespace, name);
    const { count, gapsMs } = await counterStatus(namespace, pod);
    await until('the counter goes on', async () => (await counterStatus(namespace, pod)).count > count);
    expect(await memoryIsIntact(namespace, pod)).to.equal(true);
    expect(faultsOf(countsOf(follower.lines))).to.deep.equal({ lost: 0, repeated: 0 });
    console.log(
      `      ${failed.status.failure?.code}: ${failed.status.failure?.message.slice(0, 140)}; gaps seen by the application ${JSON.stringify(gapsMs)} ms`,
    );
  };

  it('the store refuses writes', async () => {
    await testbed('store-stop');
    try {
      await requestMove(namespace, pod.metadata.name);
      await expectUnharmed(await finishedMigration(namespace, pod.metadata.name, 120_000));
    } finally {
      await testbed('store-start');
    }
  });

  /** Moves by a Migration of its own, so that each case has its own name and deadline. */
  const migrate = async (migration: string, timeoutSeconds: number): Promise<void> => {
    const spec = { podName: pod.metadata.name, timeoutSeconds };
    await apply({ apiVersion, kind: 'Migration', metadata: { name: migration, namespace }, spec });
  };
  const finished = async (migration: string): Promise<FinishedMigration> =>
    until(
      `${migration} ends`,
      async () =>
        (await migrationsOf(namespace, pod.metadata.name)).find(
          (m) => m.name === migration && /^(Succeeded|Failed)$/.test(m.status.phase ?? ''),
        ),
      90_000,
    );

  it("the target's agent is killed", async () => {
    await migrate('agent-killed', 60);
    // Earlier, a restarted agent is back in time and the move succeeds.
    const target = await until(
      'the restore begins',
      async () => {
        const running = (await migrationsOf(namespace, pod.metadata.name)).find((m) => m.name === 'agent-killed');
        return running?.status.phase === 'Restoring' && running.status.target;
      },
      60_000,
      20,
    );
    process.kill(await agentPid(target.uid ?? ''), 'SIGKILL');
    const failed = await finished('agent-killed');
    await expectUnharmed(failed);
    expect(failed.status.failure?.code).to.be.oneOf(['TARGET_LOST', 'AGENT_LOST']);
  });

  it("the target node's kubelet is stopped", async () => {
    const target = await otherNode(pod.spec.nodeName);
    await testbed('node-stop', target, 'kubelet');
    try {
      await migrate('kubelet-stopped', 15);
      await expectUnharmed(await finished('kubelet-stopped'));
    } finally {
      await testbed('node-start', target, 'kubelet');
    }
  });
});
