import { expect } from 'chai';
import { parseMigration } from '../../../../operator/migration/parse.ts';
import type { KubeObject } from '../../../../operator/kube/objects.ts';
import { migration } from '../../../fakes/operator-objects.ts';

function stored(change: Record<string, unknown> = {}): KubeObject {
  const { metadata, status } = migration();
  return {
    metadata: { ...metadata, finalizers: [] },
    spec: { podName: 'web' },
    status,
    ...change,
  } as unknown as KubeObject;
}

describe('operator/migration/parse', () => {
  it('fills in what the API server of another version did not', () => {
    expect(parseMigration(stored())?.migration.spec).to.deep.equal({
      podName: 'web',
      strategy: 'lazy-hybrid',
      timeoutSeconds: 300,
    });
  });

  it('names what is wrong with a spec', () => {
    const parsed = parseMigration(stored({ spec: { podName: 'web', strategy: 'eager' } }));
    expect(parsed?.invalid).to.contain('strategy');
  });

  it('names the modes and switches that there are', () => {
    const wrong = (options: unknown): string | undefined =>
      parseMigration(stored({ spec: { podName: 'web', options } }))?.invalid;
    expect(wrong({ mode: 'turbo' })).to.contain('"baseline"|"+async"|"+promotion"|"+hot-seed"|"full"');
    expect(wrong({ off: ['brakes'] })).to.contain('"hotExclusion"');
    expect(wrong({ mode: 'baseline', off: ['compression'], logUpload: true })).to.equal(undefined);
  });

  it('makes nothing of a status that is none of ours', () => {
    expect(parseMigration(stored({ status: { phase: 'Elsewhere' } }))).to.equal(undefined);
  });

  it('parses an object once, and its successor anew', () => {
    const object = stored();
    expect(parseMigration(object)).to.equal(parseMigration(object));
    expect(parseMigration(stored())).not.to.equal(parseMigration(object));
  });
});
