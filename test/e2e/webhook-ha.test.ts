import { KubeConfig } from '@kubernetes/client-node';
import { expect } from 'chai';
import { runCampaign } from '../../hack/webhook-ha/campaign.ts';
import { restartReplica, rotateCertificate } from '../../hack/webhook-ha/events.ts';
import { isFailed, toTable } from '../../hack/webhook-ha/report.ts';
import { createKubeClient } from '../../operator/kube/client.ts';
import { createNamespace, deleteNamespace } from './support/suite.ts';

const namespace = 'podferry-webhook-ha';

/** A slice of hack/webhook-ha.sh. */
describe('the webhook while a replica is restarted and its certificate rotated', function () {
  this.timeout(360_000);

  before(() => createNamespace(namespace));
  after(() => deleteNamespace(namespace));

  it('lets no Deployment pass that has opted in, and refuses none', async () => {
    const config = new KubeConfig();
    config.loadFromDefault();
    const client = createKubeClient(config);
    const events = [restartReplica, rotateCertificate];
    const run = await runCampaign({ client, namespace, perSecond: 20, seconds: 30, events, say: () => undefined });
    console.log(toTable(run).replaceAll(/^/gm, '      '));
    expect(run.happened.map(({ failure }) => failure)).to.deep.equal([undefined, undefined]);
    expect(run.asked.filter(isFailed)).to.deep.equal([]);
    expect(run.asked.length).to.be.greaterThan(0);
  });
});
