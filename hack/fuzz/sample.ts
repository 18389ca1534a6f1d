import { annotations } from '../../proto/names.ts';
import type { Settings } from '../../webhook/settings.ts';

export const serverName = 'podferry-webhook.migration-system.svc';

export const settings: Settings = {
  agentImage: 'podferry/agent:fuzz',
  operatorAddress: 'podferry-operator.migration-system.svc:8443',
  serverName: 'podferry-operator.migration-system.svc',
  caPem: '-----BEGIN CERTIFICATE-----\nFUZZ\n-----END CERTIFICATE-----\n',
  guaranteedResources: { cpu: '500m', memory: '512Mi' },
  nativeSidecars: false,
};

export type Json = Record<string, unknown>;

/** A review that is answered with a patch. */
export function goodReview(uid: string, podSpec: Json = {}): Json {
  const spec = { containers: [{ name: 'app', image: 'i', command: ['/app', uid] }], ...podSpec };
  const metadata = { name: 'web', namespace: 'shop', annotations: { [annotations.enabled]: 'true' } };
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid,
      kind: { group: 'apps', version: 'v1', kind: 'Deployment' },
      operation: 'CREATE',
      object: { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec: { template: { metadata: {}, spec } } },
      oldObject: null,
    },
  };
}
