import { expect } from 'chai';
import { annotations, containers, servingGate, volumes } from '../../../proto/names.ts';
import { review } from '../../../webhook/admission.ts';
import { inject } from '../../../webhook/inject.ts';
import { obstacleIn } from '../../../webhook/obstacles.ts';
import { isPodTemplate, type PodTemplate } from '../../../webhook/pod-template.ts';
import { deployment, type Json, reviewOf, settings } from './support/samples.ts';

const app = { name: 'app', command: ['/app'] };

function templateOf(spec: Json): PodTemplate {
  const template: unknown = { spec: { containers: [app], ...spec } };
  if (!isPodTemplate(template)) throw new TypeError('no pod template');
  return template;
}

const mounted = (mountPath: string, more: Json = {}) => ({
  containers: [{ ...app, volumeMounts: [{ name: 'data', mountPath, ...more }] }],
});

const obstacles: readonly (readonly [string, Json, string, RegExp])[] = [
  ['hostPID', { hostPID: true }, 'HOST_PID', /hostPID/],
  ['hostUsers: false', { hostUsers: false }, 'USER_NAMESPACE', /hostUsers: false/],
  ['a private process namespace', { shareProcessNamespace: false }, 'PROCESS_NAMESPACE_PRIVATE', /false/],
  ['the OS Windows', { os: { name: 'windows' } }, 'WINDOWS_POD', /Windows nodes/],
  ['a node selector for Windows', { nodeSelector: { 'kubernetes.io/os': 'windows' } }, 'WINDOWS_POD', /nodes/],
  ['an old one', { nodeSelector: { 'beta.kubernetes.io/os': 'windows' } }, 'WINDOWS_POD', /nodes/],
  [
    'windowsOptions of the pod',
    { securityContext: { windowsOptions: { hostProcess: true } } },
    'WINDOWS_POD',
    /the pod has securityContext\.windowsOptions/,
  ],
  [
    'windowsOptions of a container',
    { initContainers: [{ name: 'first', securityContext: { windowsOptions: { runAsUserName: 'x' } } }] },
    'WINDOWS_POD',
    /the container first has/,
  ],
  [
    "a container of the agent's name",
    { containers: [app, { name: containers.agent }] },
    'NAME_TAKEN',
    /podferry-agent/,
  ],
  [
    'an init container of its name',
    { initContainers: [{ name: containers.agent }] },
    'NAME_TAKEN',
    /a container podferry-agent/,
  ],
  ['one of the booster', { containers: [app, { name: containers.booster }] }, 'NAME_TAKEN', /pid-booster/],
  ...Object.values(volumes).map(
    (name) => [`a volume ${name}`, { volumes: [{ name }] }, 'NAME_TAKEN', /a volume podferry/] as const,
  ),
  [
    'a mount of ours by name',
    { containers: [{ ...app, volumeMounts: [{ name: volumes.shared, mountPath: '/x' }] }] },
    'NAME_TAKEN',
    /mount/,
  ],
  ['a mount at our path', mounted('/.podferry'), 'NAME_TAKEN', /data at \/\.podferry/],
  ['one below it', mounted('/.podferry/bin'), 'NAME_TAKEN', /bin/],
  ['one with a slash more', mounted('/.podferry/'), 'NAME_TAKEN', /\.podferry\//],
  ['one written in another way', mounted('//srv/../.podferry/./run'), 'NAME_TAKEN', /run/],
  ['one from the root, relative', mounted('.podferry'), 'NAME_TAKEN', /data at \.podferry/],
  ['a part of a volume there', mounted('/.podferry/bin/sleep', { subPath: 'sleep' }), 'NAME_TAKEN', /sleep/],
  ['a read-only image there', mounted('/.podferry', { subPath: 'own', readOnly: true }), 'NAME_TAKEN', /data/],
  ['a mount over everything', mounted('/'), 'NAME_TAKEN', /data at \//],
  ['our readiness gate', { readinessGates: [{ conditionType: servingGate }] }, 'NAME_TAKEN', /readiness gate/],
];

const harmless: readonly (readonly [string, Json])[] = [
  ['nothing special', {}],
  ['a read-only root file system', { containers: [{ ...app, securityContext: { readOnlyRootFilesystem: true } }] }],
  ['hostNetwork and hostIPC', { hostNetwork: true, hostIPC: true }],
  ['hostUsers: true', { hostUsers: true }],
  ['a shared process namespace', { shareProcessNamespace: true }],
  ['windowsOptions: null', { securityContext: { windowsOptions: null } }],
  ['Linux', { os: { name: 'linux' }, nodeSelector: { 'kubernetes.io/os': 'linux' } }],
  ['a path that only begins like ours', mounted('/.podferry-data')],
  ['a path of which ours is the end', mounted('/srv/.podferry')],
  [
    'names that only begin like ours',
    { volumes: [{ name: 'podferry-2' }], initContainers: [{ name: 'pid-booster-2' }] },
  ],
  ['two ports of one name', { containers: [{ ...app, ports: [{ name: 'http', containerPort: 80 }] }] }],
];

describe('obstacleIn', () => {
  for (const [name, spec, code, message] of obstacles) {
    it(`names ${name}: ${code}`, () => {
      const skip = obstacleIn(templateOf(spec));
      expect(skip?.code).to.equal(code);
      expect(skip?.message).to.match(message);
    });
  }
  for (const [name, spec] of harmless) {
    it(`lets ${name} pass`, () => expect(obstacleIn(templateOf(spec))).to.equal(undefined));
  }

  it('has nothing to look for among ports: ours have none', () => {
    const given = inject(templateOf({}), { enabled: true }, settings);
    if (!given.injected) throw new TypeError('not injected');
    const { containers: all, initContainers = [] } = given.template.spec;
    const ours: readonly string[] = Object.values(containers);
    const own = [...all, ...initContainers].filter(({ name }) => ours.includes(name));
    expect(own).to.have.length(2);
    for (const container of own) expect(container).to.not.have.any.keys('ports', 'hostPort');
  });
});

describe('the runtime class', () => {
  const warningsWith = (runtimeClassName: unknown) => {
    const object = deployment({ containers: [app], runtimeClassName }, { [annotations.enabled]: 'true' });
    const answer = review(reviewOf(object), settings);
    expect(answer.outcome).to.equal('injected');
    return answer.review.response.warnings ?? [];
  };
  for (const name of ['gvisor', 'runsc', 'kata', 'kata-qemu', 'kata-clh', 'firecracker', 'wasmtime-spin']) {
    it(`${name} gives a warning`, () => {
      const warnings = warningsWith(name);
      expect(warnings).to.have.length(1);
      expect(warnings[0]).to.match(/RUNTIME_SANDBOXED: the pod has runtimeClassName/);
    });
  }
  for (const name of ['runc', 'crun', 'nvidia', 'katana', undefined, 7]) {
    it(`${String(name)} gives none`, () => expect(warningsWith(name)).to.deep.equal([]));
  }
});
