import { expect } from 'chai';
import { counterCommand, counterEnv, counterStatus, memoryIsIntact, numbersInFile } from './support/counter.ts';
import { apply, getJson, kubectl } from './support/kubectl.ts';
import { countsOf, faultsOf, followLog, type LogFollower } from './support/log-follower.ts';
import { move } from './support/move.ts';
import { createNamespace, deleteNamespace, images, otherNode } from './support/suite.ts';
import { until } from './support/until.ts';
import { deployment, httpGet, onlyPod, pods, service, untilRestarted, type Pod } from './support/workload.ts';

const namespace = 'podferry-move';
const name = 'counter';
const moves = 3;

describe('a Deployment of 256 MiB with threads, a child and an open file, moved three times', function () {
  this.timeout(240_000);
  const followers: LogFollower[] = [];
  const podsEverSeen = new Set<string>();
  let pod: Pod;

  const follow = async (next: Pod): Promise<void> => {
    const follower = followLog(namespace, next.metadata.name, 'app');
    followers.push(follower);
    await until('its log is followed', async () => countsOf(follower.lines).length > 0);
  };
  const noteAllPods = async (): Promise<void> => {
    for (const { metadata } of await pods(namespace, name)) podsEverSeen.add(metadata.name);
  };

  before(async () => {
    await createNamespace(namespace);
    const container = { command: counterCommand, env: counterEnv(256) };
    await apply(deployment({ namespace, name, image: images().counter, container }), service(namespace, name, 8080));
    pod = await onlyPod(namespace, name);
    await follow(pod);
    await noteAllPods();
  });
  after(() => deleteNamespace(namespace));

  for (let nth = 1; nth <= moves; nth++) {
    it(`move ${nth}: memory, threads and child survive, one pod is left, the endpoints point to it`, async () => {
      const before = await counterStatus(namespace, pod);
      const target = await otherNode(pod.spec.nodeName);
      const { status } = await move(namespace, pod, target);
      await noteAllPods();
      const next = await onlyPod(namespace, name);
      expect(next.spec.nodeName).to.equal(target);
      expect(next.metadata.name).to.equal(status.target?.pod);
      expect(next.metadata.uid).not.to.equal(pod.metadata.uid);
      expect(next.metadata.ownerReferences?.[0]?.uid, 'adopted by the same ReplicaSet').to.equal(
        pod.metadata.ownerReferences?.[0]?.uid,
      );
      pod = next;
      await follow(pod);

      expect(await memoryIsIntact(namespace, pod), 'hash of 256 MiB').to.equal(true);
      const after = await counterStatus(namespace, pod);
      expect(after.digest).to.equal(before.digest);
      expect(after.pid, 'same pid in each generation').to.equal(before.pid);
      expect(after.liveThreads).to.be.at.least(before.threads.length + 2);
      expect(after.child.pid).to.equal(before.child.pid);
      expect(after.child.asked).to.equal(before.child.asked + 1);
      expect(after.child.intact).to.equal(true);
      const later = await until('each thread goes on', async () => {
        const now = await counterStatus(namespace, pod);
        return now.threads.every((count, index) => count > (after.threads[index] ?? 0)) && now;
      });
      expect(later.count).to.be.greaterThan(after.count);

      const endpoints = await getJson<{ subsets?: readonly { addresses?: readonly { ip: string }[] }[] }>([
        'get',
        'endpoints',
        '-n',
        namespace,
        name,
      ]);
      expect(endpoints.subsets?.flatMap(({ addresses }) => addresses?.map(({ ip }) => ip))).to.deep.equal([
        pod.status.podIP,
      ]);
      console.log(
        `      freeze to run ${status.downtimeMs} ms, gaps seen by the application ${JSON.stringify(after.gapsMs)} ms,`,
        `pages ${((status.checkpoint?.pageBytes ?? 0) / 2 ** 20).toFixed(0)} MiB;`,
        status.timeline?.map(({ step, ms }) => `${step} ${ms}`).join(', '),
      );
    });
  }

  it('the counter has no gap and no repeat, neither in its logs nor in its open file', async () => {
    const all = followers.flatMap(({ lines }) => countsOf(lines));
    expect(faultsOf(all)).to.deep.equal({ lost: 0, repeated: 0 });
    expect(faultsOf(await numbersInFile(namespace, pod))).to.deep.equal({ lost: 0, repeated: 0 });
  });

  it('no further pod was ever made: the first and one for each move', () => {
    expect(podsEverSeen.size).to.equal(1 + moves);
  });

  it('kubectl logs -c NAME of the new pod shows the output of the application', async () => {
    expect(
      countsOf((await kubectl(['logs', '-n', namespace, pod.metadata.name, '-c', 'app', '--tail=20'])).split('\n')),
    ).to.have.length(20);
  });

  it('an application that exits 3 makes its container exit 3 and be restarted', async () => {
    await httpGet(namespace, pod.metadata.name, '/exit/3').catch(() => undefined); // the answer never comes
    const { ended } = await untilRestarted(namespace, name);
    expect(ended?.exitCode).to.equal(3);
    await onlyPod(namespace, name);
  });

  it('kubectl delete pod delivers SIGTERM to the application', async () => {
    pod = await onlyPod(namespace, name);
    const follower = followLog(namespace, pod.metadata.name, 'app');
    await until('its log is followed', async () => follower.lines.length > 0);
    await kubectl(['delete', 'pod', '-n', namespace, pod.metadata.name]);
    await follower.ended(5_000);
    expect(follower.lines.join('\n')).to.include('got SIGTERM, bye');
  });

  it('and after a move as well', async () => {
    pod = await onlyPod(namespace, name);
    await move(namespace, pod);
    pod = await onlyPod(namespace, name);
    const follower = followLog(namespace, pod.metadata.name, 'app');
    await until('its log is followed', async () => follower.lines.length > 0);
    await kubectl(['delete', 'pod', '-n', namespace, pod.metadata.name]);
    await follower.ended(5_000);
    expect(follower.lines.join('\n')).to.include('got SIGTERM, bye');
  });
});
