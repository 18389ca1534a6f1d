import { annotations } from '../../../../proto/names.ts';
import type { Deployment, Meta } from '../../../../operator/kube/objects.ts';

export const enabled: Readonly<Record<string, string>> = { [annotations.enabled]: 'true' };
export const injectedTemplate: Readonly<Record<string, string>> = { [annotations.injected]: '1' };

/** A Deployment in its third generation, with these annotations on its template. */
export function webDeployment(metadata: Partial<Meta> = {}, inTemplate?: Readonly<Record<string, string>>): Deployment {
  return {
    metadata: {
      name: 'web',
      namespace: 'shop',
      uid: '55555555-5555-4555-8555-555555555555',
      resourceVersion: '30',
      generation: 3,
      creationTimestamp: '2026-01-01T00:00:00Z',
      ...metadata,
    },
    spec: { template: inTemplate === undefined ? {} : { metadata: { annotations: inTemplate } } },
  };
}
