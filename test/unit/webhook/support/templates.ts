import * as fc from 'fast-check';

const json = fc.jsonValue({ maxDepth: 2 });

/** Objects as JSON.parse makes them. */
function record<T>(shape: { [K in keyof T]: fc.Arbitrary<T[K]> }, options: { requiredKeys?: (keyof T)[] } = {}) {
  return fc.record(shape, { ...options, noNullPrototype: true });
}

const containerNames = ['app', 'web', 'istio-proxy', 'linkerd-proxy', 'vault-agent', 'daprd'] as const;
const volumeNames = ['data', 'cache', 'podferry-like'] as const;
const words = fc.oneof(
  fc.string(),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('', ',', '|||', '\n', '"', '$(A)', '__proto__'),
);
const strings = fc.array(words, { maxLength: 3 });
const port = fc.oneof(fc.integer({ min: 1, max: 65_535 }), fc.constantFrom('http', 'grpc'));
const probe = fc.oneof(
  record({ httpGet: record({ path: fc.constant('/ready'), port }, { requiredKeys: ['port'] }) }),
  record({ tcpSocket: record({ port }), periodSeconds: fc.nat(60) }, { requiredKeys: ['tcpSocket'] }),
  record({ exec: record({ command: strings }) }),
  record({ grpc: record({ port: fc.constant(9000), service: fc.string() }, { requiredKeys: ['port'] }) }),
);
const mount = record(
  {
    name: fc.constantFrom(...volumeNames),
    mountPath: fc.constantFrom('/data', '/cache', '/.podferry-like', '/x', '/.podferry', '/.podferry/bin', '/'),
    subPath: fc.constant('own'),
    subPathExpr: fc.constant('$(A)'),
    readOnly: fc.boolean(),
    mountPropagation: fc.constant('HostToContainer'),
  },
  { requiredKeys: ['name', 'mountPath'] },
);
// Most paths are harmless, so that most templates are accepted.
const harmlessMount = mount.filter(({ mountPath }) => /^\/(data|cache|\.podferry-like|x)$/.test(mountPath));
const mounts = fc.oneof({ weight: 9, arbitrary: harmlessMount }, { weight: 1, arbitrary: mount });
const quantities = record(
  {
    cpu: fc.constantFrom('1', '1000m', '500m', 1),
    memory: fc.constantFrom('1Gi', '1024Mi', 'odd'),
    'example.com/gpu': fc.nat(4),
  },
  { requiredKeys: [] },
);
const resources = record({ limits: quantities, requests: quantities, claims: json }, { requiredKeys: [] });
const securityContext = record(
  {
    runAsUser: fc.nat(70_000),
    runAsNonRoot: fc.boolean(),
    readOnlyRootFilesystem: fc.boolean(),
    capabilities: fc.constant({ drop: ['ALL'] }),
    seccompProfile: fc.constant({ type: 'RuntimeDefault' }),
  },
  { requiredKeys: [] },
);
const container = record(
  {
    name: fc.constantFrom(...containerNames),
    image: fc.string(),
    command: strings,
    args: strings,
    workingDir: fc.constant('/srv'),
    env: fc.array(
      record(
        {
          name: fc.oneof(fc.string(), fc.constantFrom('UV_USE_IO_URING', 'GODEBUG', 'PATH')),
          value: fc.oneof(words, fc.constantFrom('0', 'a=1', 'a=1,multipathtcp=1', 'multipathtcp=0')),
          valueFrom: fc.constant({ fieldRef: { fieldPath: 'metadata.name' } }),
        },
        { requiredKeys: ['name'] },
      ),
      { maxLength: 4 },
    ),
    ports: fc.array(record({ containerPort: fc.nat(65_535) }), { maxLength: 2 }),
    startupProbe: fc.oneof(probe, json),
    livenessProbe: probe,
    readinessProbe: probe,
    lifecycle: record({ preStop: record({ exec: record({ command: strings }) }) }),
    volumeMounts: fc.array(mounts, { maxLength: 3 }),
    resources,
    securityContext,
    restartPolicy: fc.constant('Always'),
    futureField: json,
  },
  { requiredKeys: ['name'] },
);
const volume = fc.oneof(
  record({ name: fc.constantFrom(...volumeNames), emptyDir: fc.constantFrom({}, { medium: 'Memory' }) }),
  record({ name: fc.constantFrom(...volumeNames), configMap: fc.constant({ name: 'c' }) }),
  record({ name: fc.constantFrom(...volumeNames), futureSource: json }),
);

/** Templates as the API server would pass them on, some of which cannot be injected, and none of which is. */
export const template = record(
  {
    metadata: record(
      {
        annotations: fc.dictionary(fc.string(), fc.string(), { noNullPrototype: true, maxKeys: 3 }),
        labels: fc.constant({ app: 'counter' }),
        creationTimestamp: fc.constant(null),
      },
      { requiredKeys: [] },
    ),
    spec: record(
      {
        containers: fc.uniqueArray(container, { minLength: 1, maxLength: 3, selector: (one) => one.name }),
        initContainers: fc.uniqueArray(container, { maxLength: 2, selector: (one) => one.name }),
        volumes: fc.array(volume, { maxLength: 3 }),
        readinessGates: fc.array(record({ conditionType: fc.constantFrom('a/b', 'migration.io/other') })),
        shareProcessNamespace: fc.constant(true),
        hostPID: fc.constant(false),
        hostUsers: fc.constant(true),
        resources,
        securityContext,
        runtimeClassName: fc.constantFrom('runc', 'gvisor'),
        nodeSelector: fc.constant({ 'kubernetes.io/os': 'linux' }),
        tolerations: fc.constant([{ operator: 'Exists' }]),
        futureField: json,
      },
      { requiredKeys: ['containers'] },
    ),
    futureField: json,
  },
  { requiredKeys: ['spec'] },
);
