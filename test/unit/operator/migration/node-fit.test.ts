import { expect } from 'chai';
import { imagesMissing, nodeFindings } from '../../../../operator/migration/node-fit.ts';
import type { Node, Pod, PodSpec } from '../../../../operator/kube/objects.ts';
import * as given from '../../../fakes/operator-objects.ts';

const allocatable = { cpu: '4', memory: '8Gi', pods: '3', 'nvidia.com/gpu': '1' };
function nodeWith(change: {
  readonly spec?: Node['spec'];
  readonly status?: Node['status'];
  readonly labels?: Record<string, string>;
}): Node {
  const base = given.node('n2');
  return {
    ...base,
    metadata: { ...base.metadata, labels: change.labels ?? {} },
    ...(change.spec === undefined ? {} : { spec: change.spec }),
    status: { ...base.status, allocatable, ...change.status },
  };
}
const asking = (requests: Readonly<Record<string, string>>, more: Partial<PodSpec> = {}): Pod =>
  given.pod({ spec: { containers: [{ name: 'app', resources: { requests } }], ...more } });
const port = (hostPort: number, more: Partial<PodSpec> = {}): Pod =>
  given.pod({ spec: { containers: [{ name: 'app', ports: [{ containerPort: hostPort, hostPort }] }], ...more } });
const taint = { key: 'dedicated', value: 'db', effect: 'NoSchedule' };

interface Case {
  readonly name: string;
  readonly node?: Node;
  readonly pod?: Pod;
  readonly beside?: readonly Pod[];
  readonly expected: readonly string[];
}

const cases: readonly Case[] = [
  { name: 'an empty node', expected: [] },
  {
    name: 'a cordoned node',
    node: nodeWith({
      spec: { unschedulable: true, taints: [{ key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' }] },
    }),
    expected: ['NODE_UNSUITABLE: node n2 is cordoned'],
  },
  {
    name: 'a cordoned node, tolerated',
    node: nodeWith({ spec: { unschedulable: true } }),
    pod: asking({}, { tolerations: [{ operator: 'Exists' }] }),
    expected: [],
  },
  {
    name: 'a taint',
    node: nodeWith({ spec: { taints: [taint] } }),
    expected: ['NODE_UNSUITABLE: node n2 has the taint dedicated=db:NoSchedule'],
  },
  {
    name: 'a taint that only advises',
    node: nodeWith({ spec: { taints: [{ ...taint, effect: 'PreferNoSchedule' }] } }),
    expected: [],
  },
  ...[
    { key: 'dedicated', value: 'db' },
    { key: 'dedicated', operator: 'Exists', effect: 'NoSchedule' },
  ].map((toleration) => ({
    name: `a taint, tolerated by ${JSON.stringify(toleration)}`,
    node: nodeWith({ spec: { taints: [taint] } }),
    pod: asking({}, { tolerations: [toleration] }),
    expected: [],
  })),
  ...[
    { key: 'dedicated', value: 'web' },
    { key: 'dedicated', operator: 'Exists', effect: 'NoExecute' },
    { key: 'other', operator: 'Exists' },
  ].map((toleration) => ({
    name: `a taint, not tolerated by ${JSON.stringify(toleration)}`,
    node: nodeWith({ spec: { taints: [taint] } }),
    pod: asking({}, { tolerations: [toleration] }),
    expected: ['NODE_UNSUITABLE: node n2 has the taint dedicated=db:NoSchedule'],
  })),
  {
    name: 'a label',
    node: nodeWith({ labels: { disk: 'ssd' } }),
    pod: asking({}, { nodeSelector: { disk: 'ssd' } }),
    expected: [],
  },
  {
    name: 'another label',
    pod: asking({}, { nodeSelector: { disk: 'ssd' } }),
    expected: ['NODE_UNSUITABLE: node n2 has no label disk=ssd, which the pod selects'],
  },
  {
    name: 'a port in use',
    pod: port(80),
    beside: [port(80)],
    expected: ['NODE_UNSUITABLE: node n2 has its port 80/TCP in use'],
  },
  { name: 'another port in use', pod: port(80), beside: [port(81)], expected: [] },
  {
    name: 'a port of the host network',
    pod: given.pod({ spec: { hostNetwork: true, containers: [{ name: 'app', ports: [{ containerPort: 80 }] }] } }),
    beside: [port(80)],
    expected: ['NODE_UNSUITABLE: node n2 has its port 80/TCP in use'],
  },
  {
    name: 'room to the last byte',
    pod: asking({ cpu: '1', memory: '4Gi' }),
    beside: [asking({ cpu: '3', memory: '4Gi' })],
    expected: [],
  },
  {
    name: 'too little memory',
    pod: asking({ memory: '4Gi' }),
    beside: [asking({ memory: '4097Mi' })],
    expected: ['NODE_FULL: node n2 has 4095Mi of memory free, the pod requests 4096Mi'],
  },
  {
    name: 'too little of two',
    pod: asking({ cpu: '4100m', memory: '9Gi' }),
    expected: [
      'NODE_FULL: node n2 has 4 of cpu free, the pod requests 4.1, 8192Mi of memory free, the pod requests 9216Mi',
    ],
  },
  {
    name: 'no such resource',
    pod: asking({ 'amd.com/gpu': '1' }),
    expected: ['NODE_FULL: node n2 has 0 of amd.com/gpu free, the pod requests 1'],
  },
  {
    name: 'limits where nothing is requested',
    pod: given.pod({ spec: { containers: [{ name: 'app', resources: { limits: { cpu: '5' } } }] } }),
    expected: ['NODE_FULL: node n2 has 4 of cpu free, the pod requests 5'],
  },
  {
    name: 'an init container, larger',
    pod: asking({ cpu: '1' }, { initContainers: [{ name: 'i', resources: { requests: { cpu: '5' } } }] }),
    expected: ['NODE_FULL: node n2 has 4 of cpu free, the pod requests 5'],
  },
  {
    name: 'a sidecar, beside',
    pod: asking(
      { cpu: '3' },
      { initContainers: [{ name: 's', restartPolicy: 'Always', resources: { requests: { cpu: '2' } } }] },
    ),
    expected: ['NODE_FULL: node n2 has 4 of cpu free, the pod requests 5'],
  },
  {
    name: 'too many pods',
    beside: [asking({}), asking({}), asking({})],
    expected: ['NODE_FULL: node n2 has no place for one more pod'],
  },
  { name: 'a node that tells nothing', node: given.node('n2'), pod: asking({ cpu: '100' }), expected: [] },
];

describe('operator/migration/node-fit', () => {
  for (const { name, node = nodeWith({}), pod = asking({}), beside = [], expected } of cases) {
    it(name, () => {
      const findings = nodeFindings(pod.spec, { name: 'n2', node, pods: beside });
      expect(findings.map(({ code, message }) => `${code}: ${message}`)).to.deep.equal(expected);
    });
  }

  it('no node', () => {
    const findings = nodeFindings(asking({}).spec, { name: 'n2', node: undefined, pods: [] });
    expect(findings).to.deep.equal([{ code: 'NODE_UNKNOWN', message: 'there is no node n2' }]);
  });

  it('names images that are not there, however they are written', () => {
    const names = ['docker.io/library/redis:7', 'registry.example:5000/app@sha256:abc', 'quay.io/x/y:latest'];
    const spec = {
      containers: ['redis:7', 'registry.example:5000/app@sha256:abc', 'quay.io/x/y', 'bitnami/redis:7'].map(
        (image) => ({ name: image, image }),
      ),
      initContainers: [{ name: 'i', image: 'redis:6' }],
    };
    expect(imagesMissing(spec, nodeWith({ status: { images: [{ names }] } }))).to.deep.equal([
      'redis:6',
      'bitnami/redis:7',
    ]);
    expect(imagesMissing(spec, nodeWith({}))).to.deep.equal([]);
  });
});
