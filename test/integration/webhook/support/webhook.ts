import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { parseAllDocuments } from 'yaml';
import { issueAuthority, issueLeaf } from '../../../../certs/issue.ts';
import type { Sources } from '../../../../webhook/answer.ts';
import { createWebhookServer } from '../../../../webhook/server.ts';
import type { Settings } from '../../../../webhook/settings.ts';
import { silentLog } from '../../../fakes/silent-log.ts';
import { settings } from '../../../unit/webhook/support/samples.ts';
import type { ApiServer } from './api-server.ts';

export interface RunningWebhook {
  /** From now on, as after an upgrade. */
  change(changes: Partial<Settings>): void;
  stop(): Promise<void>;
}

interface Configuration {
  readonly kind: string;
  readonly webhooks: readonly ({
    readonly namespaceSelector: { readonly matchExpressions: readonly object[] };
  } & object)[];
}

const manifest = new URL('../../../../manifests/base/webhook-configuration.yaml', import.meta.url);

/** The webhook in this process, registered with the rules of the manifest for the namespace of the test alone. */
export async function startWebhook(api: ApiServer, sources: Sources = {}): Promise<RunningWebhook> {
  const authority = await issueAuthority(Date.now());
  const certificate = { ...(await issueLeaf(['localhost'], authority, Date.now())), ca: authority.cert };
  let current: Settings = settings;
  const server = createWebhookServer(certificate, () => current, silentLog(), undefined, sources);
  server.https.listen(0, '127.0.0.1');
  await once(server.https, 'listening');
  const [configuration] = parseAllDocuments(readFileSync(manifest, 'utf8')).map((one) => one.toJS() as Configuration);
  if (configuration === undefined) throw new Error('the manifest is empty');
  const clientConfig = {
    url: `https://localhost:${server.port}/mutate`,
    caBundle: Buffer.from(authority.cert).toString('base64'),
  };
  const mine = { key: 'webhook-test', operator: 'In', values: [api.namespace] };
  await api.createClusterWide({
    ...configuration,
    metadata: { name: api.namespace },
    // A webhook that fails would be passed over in silence.
    webhooks: configuration.webhooks.map((one) => ({
      ...one,
      clientConfig,
      failurePolicy: 'Fail',
      namespaceSelector: { matchExpressions: [...one.namespaceSelector.matchExpressions, mine] },
    })),
  } as Parameters<ApiServer['createClusterWide']>[0]);
  return {
    change: (changes) => {
      current = { ...current, ...changes };
    },
    stop: () => server.close(0),
  };
}
