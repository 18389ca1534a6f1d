import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse, parseAllDocuments } from 'yaml';
import { leafSpecs } from '../../../certs/reconcile.ts';
import { parseConfig as parseWebhookConfig } from '../../../webhook/config.ts';
import * as names from '../../../proto/names.ts';

const manifests = join(import.meta.dirname, '../../../manifests');

type Value = Readonly<Record<string, unknown>>;
interface Container extends Value {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly securityContext: Value;
  readonly resources: Value;
}
interface Manifest extends Value {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly selector: Readonly<Record<string, string>> & { readonly matchLabels?: Value };
    readonly ports: readonly { readonly port: number; readonly targetPort: string }[];
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: {
        readonly serviceAccountName: string;
        readonly securityContext: Value;
        readonly containers: readonly Container[];
        readonly volumes?: readonly { readonly name: string; readonly secret?: { readonly secretName: string } }[];
      };
    };
  };
  readonly rules: readonly Rule[];
  readonly webhooks: readonly Webhook[];
  readonly roleRef?: { readonly name: string };
}
interface Webhook extends Value {
  readonly name: string;
  readonly clientConfig: { readonly service: Value };
  readonly namespaceSelector: { readonly matchExpressions: readonly Value[] };
}
interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

function load(file: string): Manifest[] {
  return parseAllDocuments(readFileSync(join(manifests, file), 'utf8')).map((document) => document.toJS() as Manifest);
}

const base = (parse(readFileSync(join(manifests, 'base/kustomization.yaml'), 'utf8')) as { resources: string[] })
  .resources;
const all = base.flatMap((file) => load(`base/${file}`));
const find = (kind: string, name: string): Manifest => {
  const found = all.find((one) => one.kind === kind && one.metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name}`);
  return found;
};
function firstWebhook(): Webhook {
  const [webhook] = find('MutatingWebhookConfiguration', names.webhookConfiguration).webhooks;
  if (webhook === undefined) throw new Error('no webhook');
  return webhook;
}
const deployments = all.filter(({ kind }) => kind === 'Deployment');
const rules = all.flatMap((one) => (one.kind.endsWith('Role') ? one.rules : []));

describe('manifests', () => {
  it('lists every file of the base', () => {
    const files = readdirSync(join(manifests, 'base'), { recursive: true, encoding: 'utf8' }).filter(
      (file) => file.endsWith('.yaml') && file !== 'kustomization.yaml',
    );
    expect(base).to.have.members(files);
  });

  it('has no object twice', () => {
    const keys = all.map((one) => `${one.kind}/${one.metadata.name}`);
    expect(new Set(keys).size).to.equal(keys.length);
  });

  for (const { metadata, spec } of deployments) {
    const pod = spec.template.spec;
    describe(`Deployment ${metadata.name}`, () => {
      it('is hardened', () => {
        expect(pod.securityContext).to.deep.include({
          runAsNonRoot: true,
          runAsUser: 65532,
          seccompProfile: { type: 'RuntimeDefault' },
        });
        for (const container of pod.containers) {
          expect(container.securityContext).to.deep.equal({
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          });
          expect(container.resources).to.have.all.keys('requests', 'limits');
        }
      });
      it('selects its own pods and runs as its own account', () => {
        expect(spec.template.metadata.labels).to.include(spec.selector.matchLabels);
        expect(find('ServiceAccount', pod.serviceAccountName).metadata.name).to.equal(metadata.name);
        expect(metadata.namespace).to.equal(names.systemNamespace);
      });
    });
  }

  it('agrees with the names in proto', () => {
    const { port, ...service } = firstWebhook().clientConfig.service;
    expect(service).to.deep.equal({ name: names.services.webhook, namespace: names.systemNamespace, path: '/mutate' });
    expect(find('Service', names.services.webhook).spec.ports[0]).to.include({ port, targetPort: 'https' });
    const ports = (name: string) =>
      find('Deployment', name).spec.template.spec.containers[0]?.ports?.map(({ containerPort }) => containerPort);
    expect(ports(names.services.webhook)).to.deep.equal([names.ports.webhook]);
    expect(ports(names.services.operator)).to.deep.equal([names.ports.hub, names.ports.health]);
    expect(find('Service', names.services.operator).spec.selector).to.include({ [names.labels.leader]: 'true' });
    const mounted = deployments
      .flatMap((one) => one.spec.template.spec.volumes ?? [])
      .flatMap((one) => one.secret?.secretName ?? []);
    expect(mounted).to.have.members([names.secrets.webhookTls, names.secrets.operatorTls]);
  });

  it('gives the webhook an environment that it accepts', () => {
    const env = find('Deployment', 'podferry-webhook').spec.template.spec.containers[0]?.env ?? [];
    const config = parseWebhookConfig(Object.fromEntries(env.map(({ name, value }) => [name, value])));
    expect(config.agentImage).to.equal('podferry/agent');
    expect(config.operatorAddress).to.equal('podferry-operator.migration-system.svc:8443');
  });

  for (const webhook of find('MutatingWebhookConfiguration', names.webhookConfiguration).webhooks) {
    it(`never lets a broken webhook stop a workload, and never sees its own namespace: ${webhook.name}`, () =>
      expectHarmless(webhook));
  }

  function expectHarmless(webhook: Webhook): void {
    expect(webhook).to.include({
      failurePolicy: 'Ignore',
      timeoutSeconds: 2,
      sideEffects: 'None',
      reinvocationPolicy: 'IfNeeded',
    });
    const { matchExpressions } = webhook.namespaceSelector;
    expect(matchExpressions[0]).to.deep.equal({
      key: 'migration.io/injection',
      operator: 'NotIn',
      values: ['disabled'],
    });
    expect(find('Namespace', names.systemNamespace).metadata.labels).to.include({
      'migration.io/injection': 'disabled',
    });
  }

  it('grants no wildcard, no secrets but its own, no reading of all secrets', () => {
    const { masterKey, ...others } = names.secrets;
    const ofCerts = Object.values(others);
    const [pullSecrets] = find('ClusterRole', names.pullSecretsRole).rules;
    for (const rule of rules) {
      expect([...rule.apiGroups, ...rule.resources, ...rule.verbs]).to.not.include('*');
      if (!rule.resources.includes('secrets') || rule === pullSecrets) continue;
      if (rule.resourceNames === undefined) expect(rule.verbs).to.deep.equal(['create']);
      else if (rule.resourceNames.includes(masterKey)) {
        expect(rule.resourceNames).to.deep.equal([masterKey]);
        expect(rule.verbs, 'nobody changes or removes the key').to.deep.equal(['get']);
      } else expect(rule.resourceNames).to.have.members(ofCerts);
    }
    const clusterWide = all.filter(
      ({ kind, metadata }) => kind === 'ClusterRole' && metadata.name !== names.pullSecretsRole,
    );
    expect(clusterWide.flatMap((one) => one.rules).flatMap((rule) => rule.resources)).to.not.include('secrets');
  });

  it('lets the webhook read pull secrets where a namespace binds that role, and binds it nowhere itself', () => {
    const [rule, ...others] = find('ClusterRole', names.pullSecretsRole).rules;
    expect(others).to.deep.equal([]);
    expect(rule).to.deep.equal({ apiGroups: [''], resources: ['secrets', 'serviceaccounts'], verbs: ['get'] });
    const bound = all.filter(({ kind }) => kind.endsWith('Binding')).map(({ roleRef }) => roleRef?.name);
    expect(bound).to.include('podferry-webhook').and.not.include(names.pullSecretsRole);
  });

  it('keeps a replica through drains, on servers of either version of the budgets', () => {
    const [now, before] = ['disruption-budgets', 'disruption-budgets-v1beta1'].map((overlay) =>
      load(`${overlay}/disruption-budgets.yaml`),
    );
    expect(now?.map(({ spec }) => spec)).to.deep.equal(
      ['podferry-webhook', 'podferry-operator'].map((name) => ({
        maxUnavailable: 1,
        selector: { matchLabels: find('Deployment', name).spec.selector.matchLabels },
      })),
    );
    expect(before).to.deep.equal(now?.map((one) => ({ ...one, apiVersion: 'policy/v1beta1' })));
  });

  it('lets the operator patch Deployments only where repair was asked for: it writes those of MigratableApps', () => {
    const verbs = rules.filter(({ resources }) => resources.includes('deployments')).flatMap((rule) => rule.verbs);
    expect(verbs).to.have.members(['get', 'list', 'watch', 'create', 'update']);
    const [settings, role, binding] = load('repair/repair.yaml');
    expect(role?.rules).to.deep.equal([{ apiGroups: ['apps'], resources: ['deployments'], verbs: ['patch'] }]);
    expect(binding).to.deep.include({
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role?.metadata.name },
      subjects: [{ kind: 'ServiceAccount', name: 'podferry-operator', namespace: names.systemNamespace }],
    });
    const env = find('Deployment', 'podferry-operator').spec.template.spec.containers[0]?.env ?? [];
    expect(env).to.deep.include({
      name: 'PODFERRY_REPAIR',
      valueFrom: { configMapKeyRef: { name: settings?.metadata.name, key: 'repair', optional: true } },
    });
  });

  it('gives conditions to a webhook that is there', () => {
    const [overlay] = load('match-conditions/match-conditions.yaml');
    expect(overlay?.metadata.name).to.equal(names.webhookConfiguration);
    expect(overlay?.webhooks.map(({ name }) => name)).to.deep.equal([firstWebhook()['name']]);
  });

  it('asks cert-manager for the same Secrets and names as podferry-certs makes', () => {
    const certificates = load('cert-manager/certificates.yaml').filter(({ kind }) => kind === 'Certificate');
    const asked = certificates
      .map(({ spec }) => spec as unknown as { secretName: string; dnsNames?: string[] })
      .filter(({ dnsNames }) => dnsNames !== undefined)
      .map(({ secretName, dnsNames }) => ({ secret: secretName, dnsNames }));
    expect(asked).to.have.deep.members([...leafSpecs(names.systemNamespace)]);
  });

  it('takes away exactly what podferry-certs is made of when cert-manager is there', () => {
    const key = ({ kind, metadata }: Manifest) => `${kind}/${metadata.name}`;
    expect(load('cert-manager/without-podferry-certs.yaml').map(key)).to.have.members(load('base/certs.yaml').map(key));
  });

  it('has the CRDs that proto/ says', () => {
    const files = ['migrations.yaml', 'checkpoints.yaml', 'migratableapps.yaml'];
    const checkedIn = files.map((file) => `---\n${readFileSync(join(manifests, 'base/crds', file), 'utf8')}`).join('');
    const made = execFileSync(
      process.execPath,
      ['--import', 'tsx', join(manifests, '../hack/generate-crds.ts'), '--print'],
      { encoding: 'utf8' },
    );
    expect(made).to.equal(checkedIn);
  });
});
