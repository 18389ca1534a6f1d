import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { build } from 'esbuild';
import { randomOf } from '../chaos/faults.ts';
import type { Attack } from './attack.ts';
import { attacksByBody } from './attacks-by-body.ts';
import { attacksByConnection } from './attacks-by-connection.ts';
import { goodReview } from './sample.ts';
import { openTls, replyOf, request, type Target, write } from './wire.ts';

export interface Options {
  readonly seconds: number;
  readonly seed: number;
}

export interface Outcome {
  /** By attack: how often, and how often each status came back; 0 stands for a connection ended without one. */
  readonly counts: ReadonlyMap<string, { readonly runs: number; readonly statuses: ReadonlyMap<number, number> }>;
  /** Well-formed requests beside the attacks, each answered with its own patch. */
  readonly answered: number;
  readonly peakMiB: number;
  /** What must not be; empty when all is well. */
  readonly wrong: readonly string[];
}

/** So many attacks are under way at once. */
const attackers = 4;

/** Between two attacks of one attacker: the campaign is to be long, not to take the machine. */
const pauseMs = 40;

/** The memory limit of manifests/base/webhook.yaml. */
export const mostMiB = 256;

/** Attacks the webhook's real server over TLS with random requests, while somebody else asks it as the API server does. */
export async function fuzz({ seconds, seed }: Options): Promise<Outcome> {
  // Half of the limit, as Node.js chooses in a container.
  const child = fork(await built(), { execArgv: ['--max-old-space-size=128'] });
  const wrong: string[] = [];
  const counts = new Map<string, { runs: number; statuses: Map<number, number> }>();
  let answered = 0;
  try {
    const target = await listening(child);
    const ended = new AbortController();
    child.once('exit', (code, signal) => {
      wrong.push(`the server ended with ${code ?? signal}`);
      ended.abort();
    });
    const until = performance.now() + seconds * 1000;
    const isOver = () => performance.now() >= until || ended.signal.aborted || wrong.length >= 20;
    const each = Object.entries({ ...attacksByBody, ...attacksByConnection });

    const attack = async (index: number): Promise<void> => {
      const random = randomOf(Math.imul(seed, 0x9e3779b1) ^ index);
      // Everything once, then at random.
      let turn = index;
      while (!isOver()) {
        const [name, one] = each[turn < each.length ? turn : Math.floor(random() * each.length)] ?? [];
        turn += attackers;
        if (name === undefined || one === undefined) continue;
        const count = counts.get(name) ?? { runs: 0, statuses: new Map<number, number>() };
        counts.set(name, count);
        wrong.push(...(await struck(name, one, target, random, count)));
        await delay(pauseMs);
      }
    };
    const ask = async (): Promise<void> => {
      while (!isOver()) {
        const fault = await faultOfAnswer(target, `good-${answered}`);
        if (fault !== undefined && !ended.signal.aborted) wrong.push(fault);
        else answered += 1;
        await delay(pauseMs);
      }
    };
    await Promise.all([...Array.from({ length: attackers }, (_, index) => attack(index)), ask()]);
    if (ended.signal.aborted) return { counts, answered, peakMiB: 0, wrong };
    const fault = await faultOfAnswer(target, 'last');
    if (fault !== undefined) wrong.push(`afterwards: ${fault}`);
    const peakMiB = peakOf(child);
    if (peakMiB > mostMiB) wrong.push(`the server took ${peakMiB} MiB`);
    return { counts, answered, peakMiB, wrong };
  } finally {
    child.removeAllListeners('exit');
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    }
  }
}

/** The server as it is shipped, in one file: a loader of TypeScript would take more memory than it. */
async function built(): Promise<string> {
  const outfile = join(import.meta.dirname, '../../dist/fuzz/webhook-server.mjs');
  await build({
    entryPoints: [join(import.meta.dirname, 'webhook-server.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    packages: 'external',
    logLevel: 'warning',
  });
  return outfile;
}

async function listening(child: ChildProcess): Promise<Target> {
  const [said] = (await once(child, 'message', { signal: AbortSignal.timeout(30_000) })) as [Target];
  return said;
}

async function struck(
  name: string,
  attack: Attack,
  target: Target,
  random: () => number,
  count: { runs: number; statuses: Map<number, number> },
): Promise<string[]> {
  count.runs += 1;
  try {
    const { statuses, hung } = await attack.run(target, random);
    for (const status of statuses.length === 0 ? [0] : statuses) {
      count.statuses.set(status, (count.statuses.get(status) ?? 0) + 1);
    }
    const bad = statuses.filter((status) => !attack.allows(status));
    return [...bad.map((status) => `${name}: answered with ${status}`), ...(hung ? [`${name}: hung`] : [])];
  } catch (error) {
    return [`${name}: no connection: ${String(error)}`];
  }
}

/** Asks as the API server does; the patch must hold the command that was sent. */
async function faultOfAnswer(target: Target, uid: string): Promise<string | undefined> {
  try {
    const socket = await openTls(target);
    const reply = replyOf(socket);
    await write(socket, [request(JSON.stringify(goodReview(uid)))]);
    const { statuses, text } = await reply;
    const body = text.slice(text.indexOf('\r\n\r\n') + 4);
    if (statuses.join() !== '200') return `a good request was answered with ${statuses.join() || 'nothing'}`;
    const { response } = JSON.parse(body) as { response: { uid: string; allowed: boolean; patch?: string } };
    const patch = Buffer.from(response.patch ?? '', 'base64').toString();
    const isRight = response.uid === uid && response.allowed && patch.includes(`\\"/app\\",\\"${uid}\\"`);
    return isRight ? undefined : `a good request got a wrong answer: ${body.slice(0, 200)}`;
  } catch (error) {
    return `a good request failed: ${String(error)}`;
  }
}

/** The most memory that the process ever had. */
function peakOf(child: ChildProcess): number {
  const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1];
  return Math.round(Number(kib) / 1024);
}

export function toTable({ counts, answered, peakMiB }: Outcome): string {
  const width = Math.max(...[...counts.keys()].map((name) => name.length));
  const lines = [...counts].map(([name, { runs, statuses }]) => {
    const seen = [...statuses].sort(([one], [other]) => one - other);
    const what = seen.map(([status, times]) => `${status === 0 ? 'closed' : status}: ${times}`).join(', ');
    return `${name.padEnd(width)}  ${String(runs).padStart(5)}  ${what}`;
  });
  return [...lines.sort(), `${answered} good requests answered beside; the server took ${peakMiB} MiB at most`].join(
    '\n',
  );
}
