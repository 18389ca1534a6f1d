import { certificateOf } from '../../certs/key-pair.ts';
import { issueAuthority } from '../../certs/issue.ts';
import { type Authority, authorityData, bundleOf, planAuthority, promoted } from '../../certs/plan-certificates.ts';
import { pathTo, paths, type KubeClient } from '../../operator/kube/client.ts';
import { isNotFound } from '../../operator/kube/errors.ts';
import { isReady, type Pod } from '../../operator/kube/objects.ts';
import { labels, leaderLease, secrets, services, systemNamespace, webhookConfiguration } from '../../proto/names.ts';
import { kubectl } from '../../test/e2e/support/kubectl.ts';
import { until } from '../../test/e2e/support/until.ts';
import { mergePatch } from '../admission/asking.ts';

/** Something that happens to an installation, as it does in its life; resolves when all is as it should be again. */
export interface Event {
  readonly what: string;
  readonly happen: (client: KubeClient) => Promise<void>;
}

/** podferry-certs looks every 30 s, a kubelet takes up to two minutes to give a pod a changed Secret. */
const rotationMs = 240_000;

type Data = Readonly<Record<string, string>>;

const secretPath = (name: string): string => pathTo(paths.secretsIn(systemNamespace), name);

async function readSecret(client: KubeClient, name: string): Promise<Data | undefined> {
  try {
    const { data = {} } = (await client.call({ method: 'GET', path: secretPath(name) })) as { data?: Data };
    return Object.fromEntries(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]),
    );
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

async function writeSecret(client: KubeClient, name: string, data: Data): Promise<void> {
  const encoded = Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')]);
  await mergePatch(client, secretPath(name), { data: Object.fromEntries(encoded) as Data });
}

async function podsOf(client: KubeClient, labelSelector: string): Promise<readonly Pod[]> {
  const path = paths.podsIn(systemNamespace);
  return ((await client.call({ method: 'GET', path, query: { labelSelector } })) as { items: Pod[] }).items;
}

const webhookPods = (client: KubeClient): Promise<readonly Pod[]> =>
  podsOf(client, `app.kubernetes.io/name=${services.webhook}`);

/** Deletes the replica that runs longest and waits until there are two again. */
export const restartReplica: Event = {
  what: 'restart of a replica',
  async happen(client) {
    const [oldest] = (await webhookPods(client)).toSorted((a, b) => age(a) - age(b));
    if (oldest === undefined) throw new Error('the webhook has no pods');
    const { name } = oldest.metadata;
    await kubectl(['delete', 'pod', '-n', systemNamespace, name, '--timeout=60s'], { timeoutMs: 70_000 });
    await until('there are two replicas again', async () => {
      const pods = await webhookPods(client);
      return pods.length === 2 && pods.every(isReady);
    });
  },
};

const age = ({ metadata }: Pod): number => Date.parse(metadata.creationTimestamp);

/** Takes the certificate away; podferry-certs issues another, and both replicas take it over. */
export const rotateCertificate: Event = {
  what: 'rotation of the certificate',
  async happen(client) {
    const before = (await readSecret(client, secrets.webhookTls))?.['tls.crt'];
    const sinceMs = Date.now();
    await client.call({ method: 'DELETE', path: secretPath(secrets.webhookTls) });
    await until(
      'there is a new certificate',
      async () => {
        const now = (await readSecret(client, secrets.webhookTls))?.['tls.crt'];
        return now !== undefined && now !== before;
      },
      rotationMs,
    );
    await untilReloaded(client, sinceMs);
  },
};

/** The way of podferry-certs, without its years: the next CA is trusted first, then it signs. */
export const rotateAuthority: Event = {
  what: 'rotation of the CA',
  async happen(client) {
    const staged = { ...(await authorityIn(client)), next: await issueAuthority(Date.now()) };
    await writeSecret(client, secrets.ca, authorityData(staged));
    await until('the next CA is trusted', async () => isTrusted(client, staged), rotationMs);
    const sinceMs = Date.now();
    const next = promoted(staged);
    await writeSecret(client, secrets.ca, authorityData(next));
    const issuer = certificateOf(next.current.cert);
    await until(
      'the certificate is of the new CA',
      async () => {
        const leaf = certificateOf((await readSecret(client, secrets.webhookTls))?.['tls.crt'] ?? '');
        return issuer !== undefined && leaf?.verify(issuer.publicKey) === true;
      },
      rotationMs,
    );
    await untilReloaded(client, sinceMs);
  },
};

async function authorityIn(client: KubeClient): Promise<Authority> {
  const { authority } = planAuthority(await readSecret(client, secrets.ca), Date.now());
  if (authority === undefined) throw new Error('podferry-certs has made no CA');
  return authority;
}

async function isTrusted(client: KubeClient, authority: Authority): Promise<boolean> {
  const path = pathTo('/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations', webhookConfiguration);
  const { webhooks } = (await client.call({ method: 'GET', path })) as {
    readonly webhooks: readonly { readonly clientConfig: { readonly caBundle?: string } }[];
  };
  const bundle = Buffer.from(bundleOf(authority)).toString('base64');
  return webhooks.every(({ clientConfig }) => clientConfig.caBundle === bundle);
}

async function untilReloaded(client: KubeClient, sinceMs: number): Promise<void> {
  await until(
    'both replicas serve the new certificate',
    async () => {
      const pods = await webhookPods(client);
      const said = await Promise.all(pods.map(async (pod) => age(pod) > sinceMs || hasReloaded(pod, sinceMs)));
      return said.length === 2 && said.every(Boolean);
    },
    rotationMs,
    1000,
  );
}

async function hasReloaded({ metadata }: Pod, sinceMs: number): Promise<boolean> {
  const since = `--since-time=${new Date(sinceMs).toISOString()}`;
  const log = await kubectl(['logs', '-n', systemNamespace, metadata.name, since]);
  return log.includes('"certificate reloaded"');
}

/** Deletes the operator's pod that leads, and waits until another one does. */
export const changeLeader: Event = {
  what: 'change of the leader',
  async happen(client) {
    const marked = await podsOf(client, `${labels.leader}=true`);
    const before = await holder(client);
    for (const { metadata } of marked) {
      await kubectl(['delete', 'pod', '-n', systemNamespace, metadata.name, '--timeout=60s'], { timeoutMs: 70_000 });
    }
    await until('another one leads', async () => {
      const now = await holder(client);
      return now !== '' && now !== before;
    });
  },
};

async function holder(client: KubeClient): Promise<string> {
  const path = pathTo(paths.leasesIn(systemNamespace), leaderLease);
  const { spec } = (await client.call({ method: 'GET', path })) as { spec?: { holderIdentity?: string } };
  return spec?.holderIdentity ?? '';
}
