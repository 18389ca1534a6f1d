/**
 * The agent's place in a pod, for tests: runs inside the pod's pid namespace and calls functions of agent/ as its
 * parent asks, one JSON line for each call and each answer.
 */
import { open, readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream/promises';
import { createReadStream, createWriteStream } from 'node:fs';
import { PodferryError } from '../../../../../proto/errors.ts';
import { packFiles, unpackFiles } from '../../../../../agent/files/archive.ts';
import { changesSince } from '../../../../../agent/files/changes.ts';
import { listFiles, loadListing, saveListing } from '../../../../../agent/files/listing.ts';
import { criuSafeArgs, inAppNamespace, programs } from '../../../../../agent/launch/app-namespace.ts';
import { cgroupProcsFiles } from '../../../../../agent/launch/cgroup.ts';
import { hold, ping, startApp } from '../../../../../agent/launch/channel.ts';
import { readEnvironment } from '../../../../../agent/launch/environment.ts';
import { type LastWord, openLastWord } from '../../../../../agent/launch/last-word.ts';
import { findPlaceholder, type Placeholder } from '../../../../../agent/launch/placeholder.ts';
import {
  alreadyStopped,
  applicationTree,
  continueTree,
  killTree,
  stopTree,
} from '../../../../../agent/launch/process-tree.ts';
import { readProcess } from '../../../../../agent/launch/proc-stat.ts';
import { markReady, clearReady } from '../../../../../agent/launch/ready-mark.ts';
import { startProgram } from '../../../../../agent/launch/run-program.ts';
import { runSupervised } from '../../../../../agent/launch/supervise.ts';

const deadlineMs = 5_000;
const agentRoot = `/proc/${process.pid}/root${process.argv[2] ?? ''}`;

async function run(placeholderPid: number, program: string, args: readonly string[], preload?: string) {
  const command = inAppNamespace({ placeholderPid, agentRoot, program, args, preload });
  const { child, ended } = startProgram(command, deadlineMs);
  child.stdin.end();
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  return { ...(await ended), stdout };
}

const words = new Map<number, LastWord | undefined>();

const functions = {
  pid: () => process.pid,
  agentRoot: () => agentRoot,
  findPlaceholder: async (binary: string) => (await findPlaceholder({ binary })) ?? null,
  startApp: async (p: Placeholder, argv: string[]) => startApp(p, argv, deadlineMs),
  ping: async (p: Placeholder) => ping(p, deadlineMs),
  pingWithin: async (p: Placeholder, ms: number) => ping(p, ms),
  hold: async (p: Placeholder, on: boolean) => hold(p, on, deadlineMs),
  pings: async (p: Placeholder, count: number) =>
    Promise.all(Array.from({ length: count }, async () => ping(p, deadlineMs))),
  readEnvironment: async (pid: number) => Object.fromEntries(await readEnvironment(pid)),
  cgroupProcsFiles: async (pid: number, mountDir: string) => cgroupProcsFiles(pid, { mountDir }),
  cgroupOf: async (pid: number) => readFile(`/proc/${pid}/cgroup`, 'utf8'),
  tree: (rootPid: number) => applicationTree(rootPid),
  alreadyStopped: (rootPid: number) => alreadyStopped(applicationTree(rootPid)),
  stopTree: async (rootPid: number) => stopTree(rootPid, deadlineMs),
  continueTree: (processes: { pid: number; startTime: string }[]) => continueTree(processes),
  killTree: async (rootPid: number) => killTree(rootPid, deadlineMs),
  process: (pid: number) => readProcess(pid) ?? null,
  signal: (pid: number, name: NodeJS.Signals) => process.kill(pid, name),
  markReady: async (p: Placeholder, dir: string) => markReady('app', p, dir),
  clearReady: async (dir: string) => clearReady('app', dir),
  run: async (pid: number, program: keyof typeof programs, args: string[]) => run(pid, programs[program], args),
  criu: async (pid: number, args: string[], preload?: string) =>
    run(pid, programs.criu, [...args, ...criuSafeArgs(agentRoot)], preload),
  lastWord: (p: Placeholder) => {
    words.set(p.pid, openLastWord(p));
  },
  end: (p: Placeholder) => words.get(p.pid)?.read() ?? null,
  /** Bytes straight into the request pipe, as only a faulty agent would. */
  garble: async (pid: number, hex: string) => {
    const pipe = await open(`/proc/${pid}/fd/4`, 'w');
    await pipe.write(Buffer.from(hex, 'hex'));
    await pipe.close();
  },
  baseline: async (pid: number, dataDirs: string[], file: string) =>
    saveListing(file, await listFiles({ placeholderPid: pid, agentRoot }, dataDirs, deadlineMs)),
  changes: async (pid: number, dataDirs: string[], file: string) =>
    changesSince(await loadListing(file), await listFiles({ placeholderPid: pid, agentRoot }, dataDirs, deadlineMs)),
  pack: async (pid: number, changed: string[], file: string) =>
    pipeline(packFiles({ placeholderPid: pid, agentRoot }, changed, deadlineMs), createWriteStream(file)),
  unpack: async (pid: number, deleted: string[], file: string, binary: string, cgroupProcs: string[]) =>
    unpackFiles({ placeholderPid: pid, agentRoot }, createReadStream(file), deleted, {
      deadlineMs,
      binary,
      cgroupProcs,
    }),
  supervise: async (
    placeholder: Placeholder,
    rootPid: number,
    cgroupProcs: string[],
    file: string,
    args: string[],
    binary: string,
  ) =>
    runSupervised({
      placeholder,
      rootPid,
      cgroupProcs,
      command: { file, args, env: { PATH: '/usr/bin:/bin' } },
      deadlineMs: 2_000,
      binary,
    }),
  restore: async (
    placeholder: Placeholder,
    rootPid: number,
    cgroupProcs: string[],
    args: string[],
    binary: string,
    preload?: string,
  ) => {
    const command = inAppNamespace({
      placeholderPid: placeholder.pid,
      agentRoot,
      program: programs.criu,
      args: [...args, ...criuSafeArgs(agentRoot)],
      preload,
    });
    const outputs = await Promise.all([1, 2].map(async (fd) => open(`/proc/${placeholder.pid}/fd/${fd}`, 'a')));
    try {
      const inheritedFds = outputs.map((output) => output.fd);
      return await runSupervised({ placeholder, rootPid, cgroupProcs, command, inheritedFds, deadlineMs, binary });
    } finally {
      await Promise.all(outputs.map(async (output) => output.close()));
    }
  },
  /** A program of the machine itself, as a careless agent would run it. */
  outside: async (file: string, args: string[]) => {
    const { child, ended } = startProgram({ file, args, env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin' } }, deadlineMs);
    child.stdin.end();
    child.stdout.resume();
    return ended;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const call: { id: number; name: keyof typeof functions; args: unknown[] } = JSON.parse(line);
  void answer(call.id, async () => Reflect.apply(functions[call.name], undefined, call.args));
}
process.exit(0);

async function answer(id: number, work: () => Promise<unknown>): Promise<void> {
  let message: object;
  try {
    message = { id, result: (await work()) ?? null };
  } catch (error) {
    const code = error instanceof PodferryError ? error.code : 'UNTYPED';
    const detail = error instanceof PodferryError ? error.detail : {};
    message = { id, error: { code, detail, message: error instanceof Error ? error.message : String(error) } };
  }
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
