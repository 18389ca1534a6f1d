import { expect } from 'chai';
import { annotations } from '../../proto/names.ts';
import { counterCommand, counterEnv } from './support/counter.ts';
import { apply, getJson, kubectl } from './support/kubectl.ts';
import { move } from './support/move.ts';
import { createNamespace, deleteNamespace, images } from './support/suite.ts';
import { until } from './support/until.ts';
import {
  containerStatus,
  deployment,
  httpGet,
  httpJson,
  onlyPod,
  untilRestarted,
  type Pod,
} from './support/workload.ts';

const namespace = 'podferry-fidelity';

const strictContainer = {
  command: ['/server'],
  securityContext: {
    runAsUser: 1000,
    runAsGroup: 1000,
    runAsNonRoot: true,
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
    seccompProfile: { type: 'RuntimeDefault' },
  },
  livenessProbe: { httpGet: { path: '/healthz', port: 8080 }, periodSeconds: 1, failureThreshold: 3 },
  readinessProbe: { exec: { command: ['/server', 'probe'] }, periodSeconds: 1 },
};

describe('a container with no shell, a non-root user, no capabilities, seccomp and probes', function () {
  this.timeout(180_000);
  const name = 'strict';
  let pod: Pod;

  before(async () => {
    await createNamespace(namespace);
    await apply(
      deployment({
        namespace,
        name,
        image: images().static,
        container: strictContainer,
        pod: { securityContext: { supplementalGroups: [2000] } },
      }),
    );
    pod = await onlyPod(namespace, name);
  });
  after(() => deleteNamespace(namespace));

  it('moves with the same ids, capabilities, Seccomp and NoNewPrivs; no probe restarts anything', async () => {
    const before = await httpGet(namespace, pod.metadata.name, '/proc');
    expect(before)
      .to.match(/Seccomp:\t2/)
      .and.match(/NoNewPrivs:\t1/)
      .and.match(/CapEff:\t0000000000000000/)
      .and.match(/Uid:\t1000/);
    for (let nth = 1; nth <= 2; nth++) {
      await move(namespace, pod);
      pod = await onlyPod(namespace, name);
      expect(await httpGet(namespace, pod.metadata.name, '/proc')).to.equal(before);
      expect(pod.status.containerStatuses?.map(({ restartCount }) => restartCount)).to.deep.equal([0, 0]);
    }
  });

  it('a crash restarts the container as usual, with the code of the crash', async () => {
    await httpGet(namespace, pod.metadata.name, '/segv').catch(() => undefined); // the answer never comes
    const { ended } = await untilRestarted(namespace, name);
    expect(ended?.exitCode).to.equal(139);
    pod = await onlyPod(namespace, name);
    expect(await httpGet(namespace, pod.metadata.name, '/')).to.match(/^count \d+ pid 1\d{4}\n$/);
  });

  it('a target that waits is neither killed by its probes nor started', async () => {
    interface Copy {
      metadata: { name: string; namespace: string; annotations?: Record<string, string> };
      spec: { nodeName?: string };
    }
    const copy = await getJson<Copy>(['get', 'pod', '-n', namespace, pod.metadata.name]);
    delete copy.spec.nodeName;
    const waiting = 'waiting-target';
    const metadata = {
      name: waiting,
      namespace,
      annotations: { ...copy.metadata.annotations, [annotations.restore]: 'a-migration-that-never-comes' },
    };
    await apply({ apiVersion: 'v1', kind: 'Pod', metadata, spec: copy.spec });
    // Liveness alone would kill it after 3 s: ten of its periods must pass.
    const startedAt = await until('its agent runs', async () => {
      const { status } = await getJson<Pod>(['get', 'pod', '-n', namespace, waiting]);
      return status.containerStatuses?.length === 2 && status.phase === 'Running' && Date.now();
    });
    await until('ten seconds have passed', async () => Date.now() - startedAt > 10_000, 30_000, 1_000);
    const target = await getJson<Pod>(['get', 'pod', '-n', namespace, waiting]);
    expect(
      target.status.containerStatuses?.map(({ restartCount, ready }) => ({ restartCount, ready })),
    ).to.deep.include({ restartCount: 0, ready: false });
    expect(containerStatus(target).restartCount).to.equal(0);
    expect(await kubectl(['logs', '-n', namespace, waiting, '-c', 'app'])).to.equal('');
    await kubectl(['delete', 'pod', '-n', namespace, waiting, '--wait=false']);
  });
});

describe('the memory limit of the container', function () {
  this.timeout(180_000);
  const name = 'limited';
  const cgroupNamespace = `${namespace}-cgroup`;

  before(async () => {
    await createNamespace(cgroupNamespace);
    const container = {
      command: counterCommand,
      env: counterEnv(32),
      resources: { limits: { memory: '128Mi' }, requests: { memory: '64Mi' } },
    };
    await apply(deployment({ namespace: cgroupNamespace, name, image: images().counter, container }));
  });
  after(() => deleteNamespace(cgroupNamespace));

  const memoryCgroup = async (pod: Pod): Promise<string> => {
    const { cgroup } = await httpJson<{ cgroup: string }>(cgroupNamespace, pod.metadata.name, '/proc');
    return cgroup.split('\n').find((line) => line.includes(':memory:') || line.startsWith('0::')) ?? '';
  };
  const containerId = (pod: Pod): string => containerStatus(pod).containerID.replace(/^.*:\/\//, '');

  it('holds before and after a move: an allocation beyond it is OOM-killed in that container', async () => {
    let pod = await onlyPod(cgroupNamespace, name);
    expect(await memoryCgroup(pod)).to.include(containerId(pod));
    await move(cgroupNamespace, pod);
    pod = await onlyPod(cgroupNamespace, name);
    expect(await memoryCgroup(pod)).to.include(containerId(pod));

    await httpGet(cgroupNamespace, pod.metadata.name, '/alloc/512').catch(() => undefined); // killed before it answers
    const { pod: killed, ended } = await untilRestarted(cgroupNamespace, name);
    expect(ended).to.include({ reason: 'OOMKilled', exitCode: 137 });
    expect(containerStatus(killed, 'podferry-agent').restartCount).to.equal(0);
  });
});
