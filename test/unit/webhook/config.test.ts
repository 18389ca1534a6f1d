import { expect } from 'chai';
import { parseConfig } from '../../../webhook/config.ts';
import { PodferryError } from '../../../proto/errors.ts';

const least = { PODFERRY_AGENT_IMAGE: 'registry.example/agent:1' };

function failureOf(environment: Readonly<Record<string, string>>): PodferryError {
  try {
    parseConfig(environment);
  } catch (error) {
    if (error instanceof PodferryError) return error;
    throw error;
  }
  throw new TypeError('accepted');
}

describe('parseConfig of the webhook', () => {
  it('needs the image of the agent only', () => {
    expect(parseConfig(least)).to.deep.include({
      agentImage: 'registry.example/agent:1',
      operatorAddress: 'podferry-operator.migration-system.svc:8443',
      logLevel: 'info',
      tlsDir: '/tls',
      guaranteedResources: { cpu: '500m', memory: '512Mi' },
    });
  });

  it('takes what it is given', () => {
    const given = {
      PODFERRY_OPERATOR: 'x:1',
      PODFERRY_TLS_DIR: '/a',
      PODFERRY_GUARANTEED_CPU: '2',
      PODFERRY_LOG_LEVEL: 'debug',
    };
    expect(parseConfig({ ...least, ...given, UNRELATED: '' })).to.deep.include({
      operatorAddress: 'x:1',
      tlsDir: '/a',
      logLevel: 'debug',
      guaranteedResources: { cpu: '2', memory: '512Mi' },
    });
  });

  const faults: readonly (readonly [string, string])[] = [
    ['PODFERRY_AGENT_IMAGE', 'an image'],
    ['PODFERRY_OPERATOR', 'no-port'],
    ['PODFERRY_LOG_LEVEL', 'loud'],
    ['PODFERRY_TLS_DIR', 'relative'],
    ['PODFERRY_GUARANTEED_CPU', '0'],
    ['PODFERRY_GUARANTEED_MEMORY', 'much'],
  ];
  for (const [name, value] of faults) {
    it(`refuses ${name}=${value} by its name, without its value`, () => {
      const failure = failureOf({ ...least, [name]: value });
      expect(failure.code).to.equal('CONFIG_INVALID');
      expect(failure.message)
        .to.contain(name)
        .and.not.contain(value === '0' ? '=0' : value);
    });
  }

  it('refuses to start without an image', () => {
    expect(failureOf({}).message).to.contain('PODFERRY_AGENT_IMAGE');
  });
});
