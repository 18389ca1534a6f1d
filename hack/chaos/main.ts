// hack/chaos.sh's other half; see there. PODFERRY_CHAOS_GATEWAY: JSON of the words that run a gateway to the store of PODFERRY_S3_*.
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { Campaign } from './campaign.ts';
import { groups, parseFaults } from './faults.ts';
import { ownGateway, steadyGateway, type Gateway } from './gateway.ts';
import { whyNoPods } from './ground.ts';
import { toSummary, toTable, type Entry } from './report.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    faults: { type: 'string', default: Object.keys(groups).join(',') },
    resume: { type: 'string' },
  },
});
const [runs, seed] = [Number(values.runs), Number(values.seed)];
if (!Number.isInteger(runs) || runs < 1 || !Number.isInteger(seed))
  throw new RangeError('--runs and --seed are numbers');
const agentImage = process.env['PODFERRY_AGENT_ROOT'];
const why = whyNoPods(agentImage);
if (why !== undefined || agentImage === undefined) throw new Error(`no campaign can be run here: ${why}`);

const cache = process.env['PODFERRY_CACHE'] ?? join(homedir(), '.cache/podferry');
const file = values.resume ?? join(cache, 'chaos', `seed-${seed}-${Date.now()}.jsonl`);
mkdirSync(dirname(file), { recursive: true });
const entries: Entry[] = existsSync(file)
  ? readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Entry)
  : [];

const env = (name: string): string => process.env[name] ?? '';
const store = {
  endpoint: env('PODFERRY_S3_ENDPOINT'),
  region: env('PODFERRY_S3_REGION'),
  bucket: env('PODFERRY_S3_BUCKET'),
  accessKeyId: env('PODFERRY_S3_ACCESS_KEY_ID'),
  secretAccessKey: env('PODFERRY_S3_SECRET_ACCESS_KEY'),
  forcePathStyle: true,
};
const argv = process.env['PODFERRY_CHAOS_GATEWAY'];
const gateway: Gateway =
  argv === undefined ? steadyGateway(store) : await ownGateway(JSON.parse(argv) as string[], store);

const stopping = new AbortController();
// after the run that is under way: it puts right what it broke
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopping.abort());

console.error(`every run is a line of ${file}`);
let campaign: Campaign | undefined;
try {
  campaign = await Campaign.start({
    agentImage,
    gateway,
    seed,
    victims: parseFaults(values.faults),
    logsFor: (run) => `${file}.run-${run}.log`,
  });
  for (let run = entries.length; run < runs && !stopping.signal.aborted; run += 1) {
    const result = { run, ...(await campaign.run(run)) };
    appendFileSync(file, `${JSON.stringify(result)}\n`);
    entries.push(result);
    const { fault, struckIn, outcome, strategy, wrong, moveMs, tookMs } = result;
    const where = struckIn === undefined ? 'not met' : `in ${struckIn}`;
    console.error(
      `${run} ${strategy}: ${fault.victim} ${where} (${fault.phase} + ${fault.afterMs} ms): ${outcome}, ${moveMs} of ${tookMs} ms ${wrong.join('; ')}`,
    );
  }
} finally {
  await campaign?.close();
  await gateway.close();
}
console.log(`${toTable(entries)}\n\n${toSummary(entries)}`);
// the agents' streams and the store's connections would hold the end up
process.exit(entries.some(({ wrong }) => wrong.length > 0) ? 1 : stopping.signal.aborted ? 130 : 0);
