import type { Settings } from '../../../../webhook/settings.ts';
import type { Answer } from '../../../../webhook/admission.ts';
import type { Operation } from 'rfc6902';

export const settings: Settings = {
  agentImage: 'podferry/agent:test',
  operatorAddress: 'podferry-operator.migration-system.svc:8443',
  serverName: 'podferry-operator.migration-system.svc',
  caPem: '-----BEGIN CERTIFICATE-----\nTEST\n-----END CERTIFICATE-----\n',
  nativeSidecars: false,
  guaranteedResources: { cpu: '500m', memory: '512Mi' },
};

export type Json = Record<string, unknown>;

/** The review that an API server would send for the object. */
export function reviewOf(object: unknown, oldObject?: unknown, request: Json = {}): Json {
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: '705ab4f5-6393-11e8-b7cc-42010a800002',
      kind: isPod(object)
        ? { group: '', version: 'v1', kind: 'Pod' }
        : { group: 'apps', version: 'v1', kind: 'Deployment' },
      namespace: 'shop',
      operation: oldObject === undefined ? 'CREATE' : 'UPDATE',
      object,
      oldObject: oldObject ?? null,
      ...request,
    },
  };
}

function isPod(object: unknown): boolean {
  return typeof object === 'object' && object !== null && 'kind' in object && object.kind === 'Pod';
}

export function patchIn({ review }: Answer): Operation[] {
  const { patch } = review.response;
  return patch === undefined ? [] : (JSON.parse(Buffer.from(patch, 'base64').toString()) as Operation[]);
}

/** A Deployment as the API server would pass it on. */
export function deployment(spec: Json, annotations: Readonly<Record<string, string>> = {}): Json {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'counter', namespace: 'shop', annotations },
    spec: { template: { metadata: { labels: { app: 'counter' } }, spec } },
  };
}
