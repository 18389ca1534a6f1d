import { expect } from 'chai';
import { Campaign } from '../../../../hack/chaos/campaign.ts';
import { parseFaults } from '../../../../hack/chaos/faults.ts';
import { steadyGateway } from '../../../../hack/chaos/gateway.ts';
import { whyNoPods } from '../../../../hack/chaos/ground.ts';
import { toTable, type Entry } from '../../../../hack/chaos/report.ts';
import { S3Server } from '../../../fakes/s3-server.ts';
import { agentRootDir } from '../launch/support/fixtures.ts';

/** A slice of hack/chaos.sh; PODFERRY_CHAOS_RUNS for more of it. */
const runs = Number(process.env['PODFERRY_CHAOS_RUNS'] ?? 6);
const seed = 3;

describe('moves in which something is killed', function () {
  this.timeout(600_000);
  let campaign: Campaign;
  let server: S3Server;
  before(async function () {
    const agentImage = agentRootDir();
    const why = whyNoPods(agentImage);
    if (why !== undefined || agentImage === undefined) {
      console.log(`      skipped: ${why}`);
      this.skip();
    }
    server = await S3Server.start();
    campaign = await Campaign.start({
      agentImage,
      gateway: steadyGateway(server.settings),
      seed,
      victims: parseFaults('agent,criu,page-server'),
    });
  });
  after(async () => {
    await campaign?.close();
    server?.close();
  });

  it(`leave one whole process and readable checkpoints, ${runs} times`, async () => {
    const entries: Entry[] = [];
    for (let run = 0; run < runs; run += 1) {
      const result = await campaign.run(run);
      entries.push({ run, ...result });
      expect(result.wrong, `run ${run}: ${JSON.stringify(result)}`).to.deep.equal([]);
    }
    console.log(toTable(entries).replaceAll(/^/gm, '      '));
  });
});
