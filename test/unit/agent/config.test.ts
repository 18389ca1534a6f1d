import { expect } from 'chai';
import { parseConfig } from '../../../agent/config.ts';
import { PodferryError } from '../../../proto/errors.ts';

const good = {
  PODFERRY_OPERATOR: '10.0.0.1:8443',
  PODFERRY_CA: '-----BEGIN CERTIFICATE-----\n...',
  PODFERRY_SERVER_NAME: 'podferry-operator.migration-system.svc',
  PODFERRY_ORIGINAL: '{"container":"app","command":["/server"]}',
  PODFERRY_POD_NAME: 'web-1',
  PODFERRY_POD_NAMESPACE: 'default',
};

describe('agent/config', () => {
  it('takes what the webhook injects', () => {
    const config = parseConfig({ ...good, PODFERRY_RESTORE: '', PODFERRY_DATA_DIRS: '["/cache"]' });
    expect(config.original.command).to.deep.equal(['/server']);
    expect(config.restoreFor).to.equal(undefined);
    expect(config.dataDirs).to.deep.equal(['/cache']);
  });

  it('is a target when the annotation is there', () => {
    expect(parseConfig({ ...good, PODFERRY_RESTORE: 'uid-1' }).restoreFor).to.equal('uid-1');
  });

  const faults: readonly { name: string; env: Record<string, string | undefined>; names: string }[] = [
    { name: 'an operator without a port', env: { PODFERRY_OPERATOR: 'operator' }, names: 'PODFERRY_OPERATOR' },
    { name: 'no CA', env: { PODFERRY_CA: undefined }, names: 'PODFERRY_CA' },
    { name: 'an original that is no JSON', env: { PODFERRY_ORIGINAL: '{' }, names: 'PODFERRY_ORIGINAL' },
    { name: 'an original without a container', env: { PODFERRY_ORIGINAL: '{}' }, names: 'PODFERRY_ORIGINAL' },
    { name: 'a relative data dir', env: { PODFERRY_DATA_DIRS: '["x"]' }, names: 'PODFERRY_DATA_DIRS' },
  ];
  for (const fault of faults) {
    it(`refuses ${fault.name} and names it`, () => {
      expect(() => parseConfig({ ...good, ...fault.env }))
        .to.throw(PodferryError, fault.names)
        .with.property('code', 'CONFIG_INVALID');
    });
  }
});
