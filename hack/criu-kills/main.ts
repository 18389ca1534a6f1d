// hack/criu-kills.sh's other half; see there.
import { parseArgs } from 'node:util';
import { Rig, whyNot } from '../../test/integration/agent/criu/rig.ts';
import {
  buildTools,
  moments,
  shapes,
  Victim,
  type Moment,
  type Shape,
} from '../../test/integration/agent/criu/victim.ts';

interface Row {
  readonly shape: Shape;
  readonly moment: Moment;
  readonly calls: number;
  kills: number;
  moves: number;
  readonly wrong: string[];
}

const { values } = parseArgs({
  options: {
    shapes: { type: 'string', default: Object.keys(shapes).join(',') },
    every: { type: 'string', default: '1' },
    from: { type: 'string', default: '1' },
    moves: { type: 'string', default: '25' },
  },
});
const isShape = (name: string): name is Shape => Object.hasOwn(shapes, name);
const names = values.shapes.split(',').filter(isShape);
const [every, from, moves] = [Number(values.every), Number(values.from), Number(values.moves)];
if (names.length === 0 || ![every, from, moves].every((n) => Number.isInteger(n) && n > 0))
  throw new RangeError(`--shapes are of ${Object.keys(shapes).join(', ')}; --every, --from and --moves are numbers`);
const why = whyNot();
if (why !== undefined) throw new Error(`no kills can be tried here: ${why}`);

const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopping.abort());

async function sweep(row: Row, start: () => Promise<Victim>): Promise<void> {
  let victim = await start();
  for (let call = from; call <= row.calls && !stopping.signal.aborted; call += every) {
    try {
      if ((await victim.strike(call, row.moment)) === 'killed') row.kills += 1;
      if (row.kills % moves !== 0) continue;
      await victim.move();
      row.moves += 1;
    } catch (error) {
      row.wrong.push(`call ${call}: ${error instanceof Error ? error.message : String(error)}`);
      await victim.end();
      victim = await start();
    }
  }
  await victim.end();
}

const rows: Row[] = [];
for (const shape of names) {
  const rig = await Rig.make();
  try {
    const tools = await buildTools(rig);
    const start = (): Promise<Victim> => Victim.start(rig, tools, shape);
    const first = await start();
    const calls = await first.calls();
    await first.end();
    for (const moment of moments) {
      const row: Row = { shape, moment, calls, kills: 0, moves: 0, wrong: [] };
      rows.push(row);
      await sweep(row, start);
      console.error(`${shape} ${moment}: ${row.kills} kills, ${row.moves} moves, ${row.wrong.length} wrong`);
      for (const wrong of row.wrong) console.error(`  ${wrong}`);
    }
  } finally {
    await rig.close();
  }
}

const table = [
  ['shape', 'killed', 'calls', 'kills', 'moves', 'wrong'],
  ...rows.map((row) => [row.shape, row.moment, ...[row.calls, row.kills, row.moves, row.wrong.length].map(String)]),
];
for (const line of table)
  console.log(
    line
      .map((cell) => cell.padEnd(8))
      .join('')
      .trimEnd(),
  );
const wrong = rows.reduce((sum, row) => sum + row.wrong.length, 0);
console.log(`${rows.reduce((sum, row) => sum + row.kills, 0)} kills, ${wrong} wrong`);
process.exitCode = wrong === 0 ? 0 : 1;
