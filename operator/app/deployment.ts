import { createHash } from 'node:crypto';
import type { MigratableApp } from '../../proto/migratable-app.ts';
import { annotations, apiVersion, labels } from '../../proto/names.ts';
import { controllerOf, type Deployment, type NewDeployment } from '../kube/objects.ts';

/** What is to be done about the Deployment of a MigratableApp with a template. */
export type DeploymentPlan =
  | { readonly kind: 'nothing' }
  /** One of that name belongs to somebody else. */
  | { readonly kind: 'taken' }
  | { readonly kind: 'create'; readonly deployment: NewDeployment }
  /** In place of the one that was read; nobody may have written in between. */
  | { readonly kind: 'replace'; readonly deployment: Deployment };

/**
 * The Deployment that runs the template, opted in. Its own template is rewritten at admission, so it is compared by the hash of what it was made of.
 * Replicas are kept as they are asked for, and left to others when they are not. Pure.
 * @param template of the app
 */
export function planDeployment(
  { metadata, spec }: MigratableApp,
  template: NonNullable<MigratableApp['spec']['template']>,
  found: Deployment | undefined,
): DeploymentPlan {
  const { name, namespace, uid } = metadata;
  const hash = createHash('sha256').update(JSON.stringify(template)).digest('hex').slice(0, 16);
  const selected = { [labels.app]: name };
  const marks = { [annotations.enabled]: 'true', [annotations.templateHash]: hash };
  const podTemplate = {
    ...template,
    metadata: { ...template.metadata, labels: { ...template.metadata?.labels, ...selected } },
  };
  const scale = spec.replicas === undefined ? {} : { replicas: spec.replicas };
  if (found === undefined) {
    const owner = { apiVersion, kind: 'MigratableApp', name, uid, controller: true };
    const meta = { name, namespace, labels: selected, annotations: marks, ownerReferences: [owner] };
    const made = { ...scale, selector: { matchLabels: selected }, template: podTemplate };
    return { kind: 'create', deployment: { apiVersion: 'apps/v1', kind: 'Deployment', metadata: meta, spec: made } };
  }
  if (controllerOf(found)?.uid !== uid) return { kind: 'taken' };
  const present = found.metadata.annotations ?? {};
  const isScaled = spec.replicas === undefined || found.spec.replicas === spec.replicas;
  const isSame = Object.entries(marks).every(([mark, value]) => present[mark] === value);
  if (isSame && isScaled) return { kind: 'nothing' };
  return {
    kind: 'replace',
    deployment: {
      ...found,
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { ...found.metadata, annotations: { ...present, ...marks } },
      // an unchanged template stays as admission has made it
      spec: { ...found.spec, ...scale, ...(isSame ? {} : { template: podTemplate }) },
    },
  };
}
