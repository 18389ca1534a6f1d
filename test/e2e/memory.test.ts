import { expect } from 'chai';
import { counterCommand, counterEnv, counterStatus, memoryIsIntact } from './support/counter.ts';
import { apply } from './support/kubectl.ts';
import { finishedMigration, migrationsOf, requestMove } from './support/move.ts';
import { createNamespace, deleteNamespace, images, testbedCommand } from './support/suite.ts';
import { agentPid, diskBytesWritten, residentBytes, workVolumeBytes } from './support/testbed.ts';
import { until } from './support/until.ts';
import { deployment, onlyPod, type Pod } from './support/workload.ts';

const namespace = 'podferry-memory';
const name = 'large';
const memoryMib = 1024;
const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** Highest values seen while a move ran. */
interface Peak {
  resident: number;
  work: number;
}

describe(`a process of ${memoryMib} MiB: no page on disk on either side`, function () {
  this.timeout(300_000);
  let pod: Pod;

  before(async function () {
    if (testbedCommand() === undefined) {
      console.log('      skipped: the accounting reads /proc of the nodes, which only the test bed allows');
      this.skip();
    }
    await createNamespace(namespace);
    const container = { command: counterCommand, env: counterEnv(memoryMib) };
    await apply(deployment({ namespace, name, image: images().counter, container }));
    pod = await onlyPod(namespace, name);
    await until('the counter has its memory', () => counterStatus(namespace, pod));
  });
  after(() => deleteNamespace(namespace));

  it("the work volumes stay small and the agents' disk writes are nil during a move", async () => {
    const source = await agentPid(pod.metadata.uid);
    const atRest = await residentBytes(source);
    const sourceDisk = await diskBytesWritten(source);
    const peaks = { source: { resident: 0, work: 0 }, target: { resident: 0, work: 0 } };
    let targetDisk = 0;
    const sample = async (pid: number, peak: Peak): Promise<void> => {
      peak.resident = Math.max(peak.resident, await residentBytes(pid));
      peak.work = Math.max(peak.work, await workVolumeBytes(pid));
    };
    const sampled = (promise: Promise<void>): Promise<void> =>
      promise.catch((error: unknown) => {
        // an agent that has not started or has ended has nothing to sample
        if (!(error instanceof Error && /ENOENT|ESRCH|no agent process/.test(error.message))) throw error;
      });

    await requestMove(namespace, pod.metadata.name);
    const migration = await until(
      'the move ends',
      async () => {
        const [running] = await migrationsOf(namespace, pod.metadata.name);
        await sampled(sample(source, peaks.source));
        const uid = running?.status.target?.uid;
        if (uid !== undefined) {
          await sampled(
            agentPid(uid).then(async (pid) => {
              await sample(pid, peaks.target);
              targetDisk = await diskBytesWritten(pid);
            }),
          );
        }
        return (
          /^(Succeeded|Failed)$/.test(running?.status.phase ?? '') && finishedMigration(namespace, pod.metadata.name)
        );
      },
      180_000,
      20,
    );
    expect(migration.status.phase, JSON.stringify(migration.status.failure)).to.equal('Succeeded');
    pod = await onlyPod(namespace, name);
    expect(await memoryIsIntact(namespace, pod)).to.equal(true);
    console.log(
      `      agent at rest ${mib(atRest)}; peak source ${mib(peaks.source.resident)}, target ${mib(peaks.target.resident)};`,
      `work volume peak source ${mib(peaks.source.work)}, target ${mib(peaks.target.work)}; written to disk by the target's agent ${mib(targetDisk)};`,
      `freeze to run ${migration.status.downtimeMs} ms`,
    );
    expect(migration.status.checkpoint?.pageBytes).to.be.greaterThan(memoryMib * 2 ** 20);
    for (const peak of [peaks.source, peaks.target]) expect(peak.work).to.be.lessThan(16 * 2 ** 20);
    expect(targetDisk).to.be.lessThan(16 * 2 ** 20);
    expect(sourceDisk).to.be.lessThan(16 * 2 ** 20);
  });
});
