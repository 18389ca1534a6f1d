import { annotations } from '../../proto/names.ts';

/** A Deployment as charts make them: one container of its own, an init container, all probes, volumes of several kinds. */
export function chartDeployment(namespace: string, name: string, marks: Readonly<Record<string, string>> = {}): object {
  const labels = { 'app.kubernetes.io/name': name, 'app.kubernetes.io/instance': 'shop' };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      name,
      namespace,
      labels: { ...labels, 'app.kubernetes.io/managed-by': 'Helm', 'helm.sh/chart': `${name}-4.2.0` },
      annotations: { 'meta.helm.sh/release-name': 'shop', 'meta.helm.sh/release-namespace': namespace, ...marks },
    },
    spec: {
      // Stored ones start nothing.
      replicas: 0,
      revisionHistoryLimit: 3,
      selector: { matchLabels: labels },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: 0 } },
      template: {
        metadata: { labels, annotations: { 'checksum/config': 'f2ca1bb6c7e907d06dafe4687e579fce' } },
        spec: pod(name),
      },
    },
  };
}

/** The marks of a Deployment that opts in. */
export const optedIn: Readonly<Record<string, string>> = { [annotations.enabled]: 'true' };

function pod(name: string): object {
  const probe = (path: string, more: object): object => ({ httpGet: { path, port: 'http' }, ...more });
  return {
    serviceAccountName: 'default',
    terminationGracePeriodSeconds: 60,
    securityContext: { runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000 },
    initContainers: [
      {
        name: 'wait-for-database',
        image: 'registry.example.com/shop/tools:1.8',
        command: ['sh', '-c', 'until nc -z database 5432; do sleep 1; done'],
      },
    ],
    containers: [
      {
        name,
        image: 'registry.example.com/shop/orders:2.31.4',
        command: ['/usr/bin/java', '-Xmx512m', '-jar', '/app/orders.jar'],
        args: ['--spring.config.location=/etc/orders/'],
        ports: [
          { name: 'http', containerPort: 8080 },
          { name: 'metrics', containerPort: 9090 },
        ],
        env: [
          ...Array.from({ length: 12 }, (_, i) => ({ name: `ORDERS_SETTING_${i}`, value: `value-${i}` })),
          { name: 'DATABASE_PASSWORD', valueFrom: { secretKeyRef: { name: 'orders-database', key: 'password' } } },
          { name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
        ],
        envFrom: [{ configMapRef: { name: 'orders-common' } }],
        resources: { requests: { cpu: '250m', memory: '512Mi' }, limits: { memory: '768Mi' } },
        livenessProbe: probe('/healthz', { periodSeconds: 10, failureThreshold: 3 }),
        readinessProbe: probe('/readyz', { periodSeconds: 5 }),
        lifecycle: { preStop: { exec: { command: ['/bin/sleep', '5'] } } },
        volumeMounts: [
          { name: 'config', mountPath: '/etc/orders', readOnly: true },
          { name: 'scratch', mountPath: '/tmp' },
          { name: 'uploads', mountPath: '/var/lib/orders' },
        ],
      },
    ],
    affinity: {
      podAntiAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          {
            weight: 100,
            podAffinityTerm: {
              topologyKey: 'kubernetes.io/hostname',
              labelSelector: { matchLabels: { 'app.kubernetes.io/name': name } },
            },
          },
        ],
      },
    },
    tolerations: [{ key: 'spot', operator: 'Exists', effect: 'NoSchedule' }],
    volumes: [
      { name: 'config', configMap: { name: 'orders' } },
      { name: 'scratch', emptyDir: {} },
      { name: 'uploads', persistentVolumeClaim: { claimName: 'orders-uploads' } },
    ],
  };
}
