import { writeFileSync } from 'node:fs';
import { annotations } from '../proto/names.ts';
import type { MigrationStatus } from '../proto/migration.ts';
import { counterCommand, counterEnv, memoryIsIntact } from '../test/e2e/support/counter.ts';
import { apply, kubectl } from '../test/e2e/support/kubectl.ts';
import { countsOf, faultsOf, followLog, type LogFollower } from '../test/e2e/support/log-follower.ts';
import { move } from '../test/e2e/support/move.ts';
import { createNamespace, deleteNamespace, images, otherNode } from '../test/e2e/support/suite.ts';
import { until } from '../test/e2e/support/until.ts';
import { deployment, onlyPod, type Pod } from '../test/e2e/support/workload.ts';

const namespace = 'podferry-demo';
const name = 'counter';
const memoryMib = 64;
const moves = 2;
const keep = process.argv.includes('--keep');

const say = (text = ''): void => console.log(text);
const heading = (text: string): void => say(`\n== ${text}`);
const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** The longest silence between two lines of the counter's log, in ms on its wall clock: the freeze as the application saw it. */
function longestSilenceMs(lines: readonly string[]): number {
  const times = lines.flatMap((line) => {
    const at = / at (\d+\.\d+)$/.exec(line)?.[1];
    return at === undefined ? [] : [Number(at) * 1000];
  });
  return Math.round(Math.max(0, ...times.slice(1).map((time, index) => time - (times[index] ?? time))));
}

function printTimeline({ timeline, checkpoint, downtimeMs, source, target }: MigrationStatus): void {
  say(`   ${source?.pod} on ${source?.node}  ->  ${target?.pod} on ${target?.node}`);
  for (const { step, ms } of timeline ?? []) say(`   ${step.padEnd(22)} ${String(ms).padStart(6)} ms`);
  const { pageBytes = 0, fileBytes = 0, storedBytes = 0 } = checkpoint ?? {};
  say(
    `   pages ${mib(pageBytes)}, changed files ${mib(fileBytes)}, stored ${mib(storedBytes)}; stopped until the target ran: ${downtimeMs} ms`,
  );
}

async function followed(pod: Pod): Promise<LogFollower> {
  const follower = followLog(namespace, pod.metadata.name, 'app');
  await until('the log is followed', async () => countsOf(follower.lines).length > 5);
  return follower;
}

heading('A plain Deployment: a counter that holds random memory, with threads, a child process and an open file');
await createNamespace(namespace);
const plain = deployment({
  namespace,
  name,
  image: images().counter,
  container: { command: counterCommand, env: counterEnv(memoryMib) },
  enabled: false,
});
await apply(plain);
await onlyPod(namespace, name, 120_000);
say(await kubectl(['get', 'pods', '-n', namespace, '-o', 'wide']));

heading(`Opting in: kubectl annotate deployment ${name} ${annotations.enabled}=true`);
await kubectl(['annotate', 'deployment', '-n', namespace, name, `${annotations.enabled}=true`]);
say(
  await kubectl(['rollout', 'status', 'deployment', '-n', namespace, name, '--timeout=120s'], { timeoutMs: 130_000 }),
);
let pod = await onlyPod(namespace, name, 120_000);
const followers = [await followed(pod)];
const freezeMs: number[] = [];
const totalMs: number[] = [];
let memoryIntact = true;

for (let nth = 1; nth <= moves; nth++) {
  const target = await otherNode(pod.spec.nodeName);
  heading(
    `Move ${nth}: kubectl annotate pod ${pod.metadata.name} ${annotations.trigger}=requested  (${pod.spec.nodeName} -> ${target})`,
  );
  const { status } = await move(namespace, pod, target);
  pod = await onlyPod(namespace, name);
  followers.push(await followed(pod));
  memoryIntact &&= await memoryIsIntact(namespace, pod);
  printTimeline(status);

  const [before, after] = followers.slice(-2);
  const around = [...(before?.lines.slice(-20) ?? []), ...(after?.lines.slice(0, 20) ?? [])];
  freezeMs.push(longestSilenceMs(around));
  totalMs.push(Date.parse(status.completedAt ?? '') - Date.parse(status.startedAt ?? ''));
  say(`   the application saw a freeze of ${freezeMs.at(-1)} ms; its log across the move:`);
  for (const line of [...(before?.lines.slice(-3) ?? []), '--', ...(after?.lines.slice(0, 3) ?? [])])
    say(`     ${line}`);
}

for (const follower of followers) follower.stop();
const { lost, repeated } = faultsOf(followers.flatMap(({ lines }) => countsOf(lines)));
heading('Result');
say(
  `   ${moves} moves, counts lost ${lost}, counts repeated ${repeated}, memory ${memoryIntact ? 'intact' : 'NOT INTACT'}`,
);
const result = { moves, countsLost: lost, countsRepeated: repeated, memoryIntact, freezeMs, totalMs };
const file = process.env['PODFERRY_DEMO_RESULT'];
if (file !== undefined) writeFileSync(file, `${JSON.stringify(result)}\n`);
if (keep) say(`   left running: namespace ${namespace}`);
else await deleteNamespace(namespace);
if (lost !== 0 || repeated !== 0 || !memoryIntact) process.exitCode = 1;
