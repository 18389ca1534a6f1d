import { expect } from 'chai';
import { annotations, containers } from '../../../proto/names.ts';
import { ApiServer } from './support/api-server.ts';
import { type RunningWebhook, startWebhook } from './support/webhook.ts';

interface Stored {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly generation: number;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly template: {
      readonly metadata: { readonly labels?: object; readonly annotations?: Readonly<Record<string, string>> };
      readonly spec: { readonly containers: readonly { readonly name: string; readonly image: string }[] };
    };
  };
}

describe('Deployments that others manage, on a real API server', function () {
  this.timeout(60_000);
  let api: ApiServer;
  let webhook: RunningWebhook;
  let count = 0;

  before(async function () {
    api = ApiServer.find() ?? this.skip();
    await api.createNamespace({ 'webhook-test': api.namespace });
    webhook = await startWebhook(api);
  });
  after(async () => {
    await api?.remove();
    await webhook?.stop();
  });

  function manifest(name: string, image = 'registry.example/web:1') {
    const labels = { app: name };
    return {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, annotations: { [annotations.enabled]: 'true' } },
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: { containers: [{ name: 'web', image, command: ['/web'], args: ['--port', '80'] }] },
        },
      },
    };
  }

  const stored = (name: string): Promise<Stored> => api.json(['get', 'deployment', name]);
  const isInjected = ({ spec }: Stored) => spec.template.spec.containers.some(({ name }) => name === containers.agent);

  async function applied(...more: readonly string[]): Promise<Stored> {
    const name = `web-${(count += 1)}`;
    await api.kubectl(['apply', '-f', '-', ...more], manifest(name));
    const first = await stored(name);
    expect(isInjected(first)).to.equal(true);
    return first;
  }

  it('kubectl apply of the same manifest changes nothing, and kubectl diff says so', async () => {
    const before = await applied();
    const { name } = before.metadata;
    const { code, stdout, stderr } = await api.run(['diff', '-f', '-'], JSON.stringify(manifest(name)));
    expect(stdout + stderr).to.equal('');
    expect(code).to.equal(0);
    await api.kubectl(['apply', '-f', '-'], manifest(name));
    expect(await stored(name)).to.deep.equal(before);
  });

  it('kubectl diff of another manifest shows what the user changed, and nothing of ours', async () => {
    const { metadata } = await applied();
    const { code, stdout } = await api.run(
      ['diff', '-f', '-'],
      JSON.stringify(manifest(metadata.name, 'registry.example/web:2')),
    );
    expect(code).to.equal(1);
    const changed = stdout.split('\n').filter((line) => /^[+-] /.test(line));
    expect(
      changed.filter((line) => !line.includes('generation:')).map((line) => line.replace(/^(.)\s+/, '$1 ')),
    ).to.deep.equal(['- image: registry.example/web:1', '+ image: registry.example/web:2']);
  });

  it('server-side apply of the same manifest, again and by another manager, rolls nothing out', async () => {
    const before = await applied('--server-side', '--field-manager=first');
    const { name, generation } = before.metadata;
    for (const manager of ['first', 'second', 'first', 'second']) {
      const args = ['apply', '-f', '-', '--server-side', `--field-manager=${manager}`, '--force-conflicts'];
      await api.kubectl(args, manifest(name));
      const now = await stored(name);
      expect(now.spec.template).to.deep.equal(before.spec.template);
      expect(now.metadata.generation).to.equal(generation);
    }
  });

  it('server-side apply of another field by another manager leaves the template alone', async () => {
    const before = await applied();
    const { name } = before.metadata;
    const replicas = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name }, spec: { replicas: 3 } };
    await api.kubectl(
      ['apply', '-f', '-', '--server-side', '--field-manager=scaler', '--force-conflicts', '--validate=false'],
      replicas,
    );
    expect((await stored(name)).spec.template).to.deep.equal(before.spec.template);
  });

  it('an upgrade, of ours or of the server, rolls nothing out: not by apply, scale or annotate', async () => {
    const before = await applied();
    const { name } = before.metadata;
    webhook.change({ agentImage: 'podferry/agent:new', nativeSidecars: true });
    try {
      await api.kubectl(['apply', '-f', '-'], manifest(name));
      await api.kubectl(['scale', 'deployment', name, '--replicas=2']);
      await api.kubectl(['annotate', 'deployment', name, 'team=shop']);
      expect((await stored(name)).spec.template).to.deep.equal(before.spec.template);
    } finally {
      webhook.change({ agentImage: 'podferry/agent:test', nativeSidecars: false });
    }
  });

  it('rollout undo brings back the template of the old ReplicaSet as it was', async () => {
    const first = await applied();
    const { name } = first.metadata;
    await recordRevision(first, 1);
    await api.kubectl(['set', 'image', `deployment/${name}`, 'web=registry.example/web:2']);
    const second = await stored(name);
    expect(isInjected(second)).to.equal(true);
    expect(second.metadata.generation).to.equal(first.metadata.generation + 1);
    await recordRevision(second, 2);
    await api.kubectl(['rollout', 'undo', `deployment/${name}`]);
    const undone = await stored(name);
    expect(undone.spec.template).to.deep.equal(first.spec.template);
    // And the manifest of the second revision brings that one back.
    await api.kubectl(['apply', '-f', '-'], manifest(name, 'registry.example/web:2'));
    expect((await stored(name)).spec.template).to.deep.equal(second.spec.template);
  });

  it('rollout undo takes the opt-in back when that was what was done last', async () => {
    const name = `web-${(count += 1)}`;
    await api.kubectl(['create', '-f', '-'], { ...manifest(name), metadata: { name } });
    const plain = await stored(name);
    await recordRevision(plain, 1);
    await api.kubectl(['annotate', 'deployment', name, `${annotations.enabled}=true`]);
    const injected = await stored(name);
    expect(isInjected(injected)).to.equal(true);
    await recordRevision(injected, 2);
    await api.kubectl(['rollout', 'undo', `deployment/${name}`]);
    expect((await stored(name)).spec.template).to.deep.equal(plain.spec.template);
  });

  it('rollout restart is one rollout', async () => {
    const before = await applied();
    const { name, generation } = before.metadata;
    await api.kubectl(['rollout', 'restart', `deployment/${name}`]);
    expect((await stored(name)).metadata.generation).to.equal(generation + 1);
    await api.kubectl(['apply', '-f', '-'], manifest(name));
    expect((await stored(name)).metadata.generation).to.equal(generation + 1);
  });

  it('removing the annotation from the manifest gives the template back, in one rollout', async () => {
    const { metadata } = await applied();
    const plain = { ...manifest(metadata.name), metadata: { name: metadata.name } };
    await api.kubectl(['apply', '-f', '-'], plain);
    const now = await stored(metadata.name);
    expect(isInjected(now)).to.equal(false);
    expect(now.spec.template.spec.containers).to.have.length(1);
    expect(now.metadata.generation).to.equal(metadata.generation + 1);
  });

  /** What a Deployment controller, which this server does not have, makes of a template. */
  async function recordRevision({ metadata, spec }: Stored, revision: number): Promise<void> {
    const hash = `r${revision}`;
    const { 'kubectl.kubernetes.io/last-applied-configuration': _, ...annotated } = metadata.annotations ?? {};
    const labels = { ...spec.template.metadata.labels, 'pod-template-hash': hash };
    await api.kubectl(['create', '-f', '-'], {
      apiVersion: 'apps/v1',
      kind: 'ReplicaSet',
      metadata: {
        name: `${metadata.name}-${hash}`,
        labels,
        annotations: { ...annotated, 'deployment.kubernetes.io/revision': String(revision) },
        ownerReferences: [
          { apiVersion: 'apps/v1', kind: 'Deployment', name: metadata.name, uid: metadata.uid, controller: true },
        ],
      },
      spec: {
        replicas: 0,
        selector: { matchLabels: labels },
        template: { ...spec.template, metadata: { ...spec.template.metadata, labels } },
      },
    });
  }
});
