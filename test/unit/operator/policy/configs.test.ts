import { expect } from 'chai';
import { annotations } from '../../../../proto/names.ts';
import { ApiError } from '../../../../operator/kube/errors.ts';
import type { KubeClient } from '../../../../operator/kube/client.ts';
import { createConfigs, keptMs } from '../../../../operator/policy/configs.ts';
import { pod } from '../../../fakes/operator-objects.ts';

function setUp(answer: (path: string) => unknown) {
  const asked: string[] = [];
  let nowMs = 0;
  const client: KubeClient = {
    call: async ({ path }) => {
      asked.push(path);
      return answer(path);
    },
    watch: async () => undefined,
  };
  const configs = createConfigs(client, { now: () => nowMs }, 'migration-system');
  return { configs, asked, pass: (ms: number) => (nowMs += ms) };
}

const named = (name: string) => pod({ metadata: { annotations: { [annotations.config]: name } } });

describe('ConfigMaps of policies', () => {
  it('the one that a pod names is of its namespace, and asked for once in a while', async () => {
    const { configs, asked, pass } = setUp(() => ({ data: { interval: '30s' } }));
    const source = await configs.ofPod(named('policy'));
    expect(source).to.deep.equal({ place: 'ConfigMap default/policy', data: { interval: '30s' } });
    pass(keptMs - 1);
    await configs.ofPod(named('policy'));
    expect(asked).to.deep.equal(['/api/v1/namespaces/default/configmaps/policy']);
    pass(1);
    await configs.ofPod(named('policy'));
    expect(asked).to.have.length(2);
  });

  it('one that is not there: named for the pod that wants it, nothing for the installation', async () => {
    const { configs } = setUp((path) => {
      throw new ApiError(404, 'NotFound', path);
    });
    expect(await configs.ofPod(named('policy'))).to.deep.equal({ place: 'ConfigMap default/policy', data: undefined });
    expect(await configs.defaults()).to.equal(undefined);
  });

  it('a name that is none is never asked for', async () => {
    const { configs, asked } = setUp(() => ({}));
    expect((await configs.ofPod(named('../secrets/x')))?.data).to.equal(undefined);
    expect(asked).to.deep.equal([]);
  });

  it('an error is not kept', async () => {
    let isDown = true;
    const { configs } = setUp((path) => {
      if (isDown) throw new ApiError(500, 'Down', path);
      return { data: null };
    });
    await configs.defaults().then(
      () => expect.fail('nothing was thrown'),
      (error: unknown) => expect(error).to.be.instanceOf(ApiError),
    );
    isDown = false;
    expect(await configs.defaults()).to.deep.equal({
      place: 'ConfigMap migration-system/migration-defaults',
      data: {},
    });
  });
});
