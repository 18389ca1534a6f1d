// hack/bench.sh's other half: NAME... [--full] [--sizes MIB,...]. The reports go to PODFERRY_BENCH_RESULT, one JSON object a line.
import { writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { criuVersion } from '../../agent/criu/version.ts';
import { Rig, whyNot } from '../../test/integration/agent/criu/rig.ts';
import { choose, parseSizes, withoutProcesses, type BenchmarkName, type Wanted } from './cases.ts';
import { delta } from './delta.ts';
import { dump } from './dump.ts';
import { freeze } from './freeze.ts';
import { generations } from './generations.ts';
import { s3Settings } from './objects.ts';
import { toJson, toTable, type Machine, type Report, type Result } from './report.ts';
import { restore } from './restore.ts';
import type { Bench } from './setting.ts';
import { webhook } from './webhook.ts';

const benchmarks: Record<BenchmarkName, (bench: Bench) => Promise<readonly Result[]>> = {
  dump,
  restore,
  delta,
  freeze,
  webhook,
  generations,
};

async function machine(): Promise<Machine> {
  return {
    cores: cpus().length,
    memoryGiB: totalmem() / 2 ** 30,
    kernel: release(),
    node: process.versions.node,
    criu: movesProcesses ? await versionOfCriu() : 'none',
  };
}

async function versionOfCriu(): Promise<string> {
  const rig = await Rig.make();
  try {
    return await criuVersion(rig.criu, 10_000);
  } finally {
    await rig.close();
  }
}

const { values, positionals } = parseArgs({
  options: { full: { type: 'boolean', default: false }, sizes: { type: 'string' } },
  allowPositionals: true,
});
const names = choose(positionals);
const wanted: Wanted = {
  full: values.full,
  ...(values.sizes === undefined ? {} : { only: parseSizes(values.sizes) }),
};
const movesProcesses = names.some((name) => !withoutProcesses.includes(name));
const why = movesProcesses ? whyNot() : undefined;
if (why !== undefined) throw new Error(`benchmarks cannot run here: ${why}`);

const undo: Bench['undo'] = new Set();
const bench: Bench = {
  wanted,
  get settings() {
    return s3Settings(process.env);
  },
  kubeconfig: process.env['KUBECONFIG_API'] ?? '',
  say: (text) => console.error(text),
  undo,
};
const interrupt = async (): Promise<void> => {
  console.error('interrupted: removing what was made');
  for (const one of undo) await one().catch((error: unknown) => console.error(error));
  process.exit(130);
};
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void interrupt());
const reports: Report[] = [];
for (const name of names) {
  const startedAt = performance.now();
  const report = { name, machine: await machine(), results: await benchmarks[name](bench) };
  reports.push(report);
  console.log(`${toTable(report)}\n(${Math.round((performance.now() - startedAt) / 1000)} s)\n`);
  const file = process.env['PODFERRY_BENCH_RESULT'];
  if (file !== undefined) writeFileSync(file, reports.map((one) => `${toJson(one)}\n`).join(''));
}
