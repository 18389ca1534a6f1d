import type { Log } from '../proto/logging.ts';
import { secrets, services, webhookConfiguration } from '../proto/names.ts';
import { type Cluster, type FoundSecret, tlsSecretType } from './cluster.ts';
import { issueAuthority, issueLeaf } from './issue.ts';
import { keyPairOf } from './key-pair.ts';
import {
  type Authority,
  authorityData,
  bundleOf,
  leafData,
  type LeafSpec,
  planAuthority,
  planLeaf,
  promoted,
} from './plan-certificates.ts';

export interface Deps {
  readonly cluster: Cluster;
  readonly namespace: string;
  readonly log: Log;
  now(): number;
}

export function leafSpecs(namespace: string): readonly LeafSpec[] {
  const names = (service: string) => [`${service}.${namespace}.svc`, `${service}.${namespace}.svc.cluster.local`];
  return [
    { secret: secrets.webhookTls, dnsNames: names(services.webhook) },
    { secret: secrets.operatorTls, dnsNames: names(services.operator) },
  ];
}

/**
 * One round: looks at everything and brings it where it should be; a round that finds all in order writes nothing.
 * The order matters: a CA is trusted by the API server before a certificate that it signed is used.
 * @returns false when somebody else wrote meanwhile: look again at once
 */
export async function reconcile(deps: Deps, signal: AbortSignal): Promise<boolean> {
  const authority = await settleAuthority(deps, signal);
  if (authority === undefined || !(await settleCaBundle(deps, authority, signal))) return false;
  for (const spec of leafSpecs(deps.namespace)) {
    if (!(await settleLeaf(deps, spec, authority, signal))) return false;
  }
  return true;
}

async function settleAuthority(deps: Deps, signal: AbortSignal): Promise<Authority | undefined> {
  const { cluster, log } = deps;
  const found = await cluster.readSecret(secrets.ca, signal);
  const now = deps.now();
  const { action, authority: present } = planAuthority(found?.data, now);
  if (present !== undefined && action === 'keep' && hasRightType(found)) return present;

  let authority: Authority;
  if (present === undefined) authority = { current: await issueAuthority(now) };
  else if (action === 'stage-next') authority = { ...present, next: await issueAuthority(now) };
  else authority = action === 'promote-next' ? promoted(present) : present;
  const isWritten = await cluster.writeSecret(secrets.ca, authorityData(authority), found, signal);
  if (isWritten) log.info('CA written', { secret: secrets.ca, action, isReplaced: found !== undefined });
  return isWritten ? authority : undefined;
}

async function settleLeaf(deps: Deps, spec: LeafSpec, authority: Authority, signal: AbortSignal): Promise<boolean> {
  const { cluster, log } = deps;
  const found = await cluster.readSecret(spec.secret, signal);
  const now = deps.now();
  const action = planLeaf(found?.data, spec, authority, now);
  if (action === 'keep' && hasRightType(found)) return true;
  const present = action === 'issue' ? undefined : keyPairOf(found?.data?.['tls.crt'], found?.data?.['tls.key']);
  const pair = present ?? (await issueLeaf(spec.dnsNames, authority.current, now));
  const isWritten = await cluster.writeSecret(spec.secret, leafData(pair, authority), found, signal);
  if (isWritten) log.info('certificate written', { secret: spec.secret, action });
  return isWritten;
}

async function settleCaBundle(deps: Deps, authority: Authority, signal: AbortSignal): Promise<boolean> {
  const { cluster, log } = deps;
  const webhooks = await cluster.readWebhooks(webhookConfiguration, signal);
  if (webhooks === undefined) {
    log.debug('no webhook configuration yet', { name: webhookConfiguration });
    return true;
  }
  const bundle = bundleOf(authority);
  if (webhooks.every(({ caBundle }) => caBundle === bundle)) return true;
  const isWritten = await cluster.writeCaBundle(webhookConfiguration, webhooks, bundle, signal);
  if (isWritten) log.info('CA bundle of the webhook written', { name: webhookConfiguration });
  return isWritten;
}

function hasRightType(found: FoundSecret | undefined): boolean {
  return found?.type === tlsSecretType;
}
