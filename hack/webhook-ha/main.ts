// hack/webhook-ha.sh's other half; see there.
import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import { KubeConfig } from '@kubernetes/client-node';
import { createKubeClient, pathTo } from '../../operator/kube/client.ts';
import { runCampaign } from './campaign.ts';
import { changeLeader, restartReplica, rotateAuthority, rotateCertificate } from './events.ts';
import { isGood, toSummary, toTable } from './report.ts';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '600' }, rate: { type: 'string', default: '50' } },
});
const [seconds, perSecond] = [Number(values.seconds), Number(values.rate)];
if (!(seconds > 0) || !(perSecond > 0)) throw new RangeError('--seconds and --rate are positive numbers');

const config = new KubeConfig();
config.loadFromDefault();
const client = createKubeClient(config);
const namespace = `webhook-ha-${randomUUID().slice(0, 8)}`;
const namespaces = '/api/v1/namespaces';
await client.call({ method: 'POST', path: namespaces, body: { metadata: { name: namespace } } });
try {
  const events = [restartReplica, rotateCertificate, restartReplica, rotateAuthority, changeLeader];
  const say = (text: string): void => console.error(text);
  const run = await runCampaign({ client, namespace, perSecond, seconds, events, say });
  console.log(`${toTable(run)}\n\n${toSummary(run)}`);
  process.exitCode = isGood(run) ? 0 : 1;
} finally {
  await client.call({ method: 'DELETE', path: pathTo(namespaces, namespace) });
}
// the client's open connections would hold the end up
process.exit();
