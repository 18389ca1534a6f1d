// hack/fuzz-webhook.sh's other half; see there.
import { parseArgs } from 'node:util';
import { fuzz, toTable } from './campaign.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
});
const [seconds, seed] = [Number(values.seconds), Number(values.seed)];
if (!(seconds > 0) || !Number.isInteger(seed)) throw new RangeError('--seconds and --seed are numbers');

console.error(`seed ${seed}, ${seconds} s`);
const outcome = await fuzz({ seconds, seed });
console.log(toTable(outcome));
for (const line of outcome.wrong) console.log(`wrong: ${line}`);
console.log(`${outcome.wrong.length} wrong`);
process.exitCode = outcome.wrong.length === 0 ? 0 : 1;
