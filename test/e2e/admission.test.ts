import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { annotations, containers } from '../../proto/names.ts';
import { apply, getJson, kubectl } from './support/kubectl.ts';
import { createNamespace, deleteNamespace, images } from './support/suite.ts';
import { deployment, onlyPod } from './support/workload.ts';

const namespace = 'podferry-admission';

interface Template {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: { readonly containers: readonly { readonly name: string }[] };
}

async function template(name: string): Promise<Template> {
  return (await getJson<{ spec: { template: Template } }>(['get', 'deployment', '-n', namespace, name])).spec.template;
}

/** stderr of `kubectl apply`: where the API server's warnings appear. */
async function warningsOfApply(object: object): Promise<string> {
  const child = spawn('kubectl', ['apply', '-f', '-'], { stdio: ['pipe', 'ignore', 'pipe'] });
  child.stdin.end(JSON.stringify(object));
  return text(child.stderr);
}

describe('admission on a real API server', function () {
  this.timeout(120_000);
  const container = { command: ['/server'] };

  before(() => createNamespace(namespace));
  after(() => deleteNamespace(namespace));

  it('a Deployment without the annotation is what was sent, but for the defaults of the API server', async () => {
    const plain = deployment({ namespace, name: 'plain', image: images().static, container, enabled: false });
    await apply(plain);
    const withoutWebhook = JSON.parse(
      // kube-system is out of the webhook's reach: the API server's own defaults and nothing else
      await kubectl(['create', '--dry-run=server', '-o', 'json', '-f', '-'], {
        input: JSON.stringify({ ...plain, metadata: { name: 'plain', namespace: 'kube-system' } }),
      }),
    ) as { spec: { template: unknown } };
    expect(JSON.stringify(await template('plain'))).to.equal(JSON.stringify(withoutWebhook.spec.template));
  });

  it('removing the annotation restores the original template', async () => {
    await apply(deployment({ namespace, name: 'web', image: images().static, container, enabled: false }));
    const original = await template('web');
    await kubectl(['annotate', 'deployment', '-n', namespace, 'web', `${annotations.enabled}=true`]);
    const injected = await template('web');
    expect(injected.spec.containers.map(({ name }) => name)).to.include(containers.agent);
    await kubectl(['rollout', 'status', 'deployment', '-n', namespace, 'web', '--timeout=60s']);
    await kubectl(['annotate', 'deployment', '-n', namespace, 'web', `${annotations.enabled}-`]);
    expect(await template('web')).to.deep.equal(original);
    await kubectl(['rollout', 'status', 'deployment', '-n', namespace, 'web', '--timeout=60s']);
    await onlyPod(namespace, 'web');
  });

  it('applying the same manifest again rolls nothing', async () => {
    const manifest = deployment({ namespace, name: 'again', image: images().static, container });
    await apply(manifest);
    const generation = await kubectl([
      'get',
      'deployment',
      '-n',
      namespace,
      'again',
      '-o',
      'jsonpath={.metadata.generation}',
    ]);
    await apply(manifest);
    expect(
      await kubectl(['get', 'deployment', '-n', namespace, 'again', '-o', 'jsonpath={.metadata.generation}']),
    ).to.equal(generation);
  });

  it('an ambiguous container gets a warning that names the annotation to set', async () => {
    const two = deployment({ namespace, name: 'two', image: images().static, container }) as {
      spec: { template: { spec: { containers: object[] } } };
    };
    two.spec.template.spec.containers.push({ name: 'other', image: images().static, command: ['/server'] });
    expect(await warningsOfApply(two)).to.include(annotations.container);
    expect((await template('two')).spec.containers).to.have.length(2);
  });
});
