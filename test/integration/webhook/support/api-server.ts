import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { text } from 'node:stream/consumers';
import { parse } from 'yaml';
import type { Access } from '../../../../webhook/kube/api.ts';

interface KubeConfig {
  readonly clusters: readonly { readonly cluster: { readonly server: string } & Readonly<Record<string, string>> }[];
  readonly users: readonly { readonly user: Readonly<Record<string, string>> }[];
}

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

type Admin = Awaited<ReturnType<Access>>;

/** The API server of the test bed, which has no controllers and no nodes; what is made here goes with `remove`. */
export class ApiServer {
  /** Of this test alone. */
  readonly namespace = `webhook-${randomBytes(4).toString('hex')}`;
  private readonly clusterWide: string[] = [];

  private constructor(
    private readonly kubeconfig: string,
    readonly admin: Admin,
  ) {}

  /** undefined, with the reason on the screen, when there is none. */
  static find(): ApiServer | undefined {
    const file = process.env['KUBECONFIG_API'];
    if (file === undefined || file === '') {
      console.log('      skipped: KUBECONFIG_API is not set (hack/testbed/testbed.sh up --api-only; env --api-only)');
      return undefined;
    }
    const { clusters, users } = parse(readFileSync(file, 'utf8')) as KubeConfig;
    const [cluster, user] = [clusters[0]?.cluster, users[0]?.user];
    if (cluster === undefined || user === undefined) throw new Error(`${file} names no cluster and user`);
    const pem = (of: Readonly<Record<string, string>>, key: string): string => {
      const [inline, path] = [of[`${key}-data`], of[key]];
      return inline === undefined ? readFileSync(path ?? '', 'utf8') : Buffer.from(inline, 'base64').toString();
    };
    return new ApiServer(file, {
      server: cluster.server,
      ca: pem(cluster, 'certificate-authority'),
      cert: pem(user, 'client-certificate'),
      key: pem(user, 'client-key'),
    });
  }

  /** kubectl as the administrator, in the namespace; whatever comes of it. */
  async run(args: readonly string[], input = ''): Promise<Ran> {
    const child = spawn('kubectl', ['--kubeconfig', this.kubeconfig, '-n', this.namespace, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: 30_000,
    });
    child.stdin.on('error', () => child.stdin.destroy()); // kubectl may end without reading it; its exit code tells
    child.stdin.end(input);
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close') as Promise<[number | null]>,
    ]);
    return { code, stdout, stderr };
  }

  /** @throws Error unless it succeeds */
  async kubectl(args: readonly string[], input?: object): Promise<string> {
    const { code, stdout, stderr } = await this.run(args, input === undefined ? '' : JSON.stringify(input));
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  async json<T>(args: readonly string[], input?: object): Promise<T> {
    return JSON.parse(await this.kubectl([...args, '-o', 'json'], input)) as T;
  }

  /** Creates the namespace, as a controller manager would complete it. */
  async createNamespace(labels: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.kubectl(['create', '-f', '-'], {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: this.namespace, labels },
    });
    await this.createServiceAccount('default');
  }

  async createServiceAccount(name: string, more: object = {}): Promise<void> {
    await this.kubectl(['create', '-f', '-'], {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name },
      ...more,
    });
  }

  /** An object outside of namespaces; its name should begin with the namespace's. */
  async createClusterWide(object: {
    readonly kind: string;
    readonly metadata: { readonly name: string };
  }): Promise<void> {
    await this.kubectl(['create', '-f', '-'], object);
    this.clusterWide.push(`${object.kind}/${object.metadata.name}`);
  }

  /** Access as a service account of the namespace, by a token that lives for ten minutes. */
  async accessAs(serviceAccount: string): Promise<Access> {
    const path = `/api/v1/namespaces/${this.namespace}/serviceaccounts/${serviceAccount}/token`;
    const asked = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 600 } };
    const { status } = (await this.post(path, asked)) as { readonly status: { readonly token: string } };
    const { server, ca } = this.admin;
    return async () => ({ server, ca, token: status.token });
  }

  private async post(path: string, body: object): Promise<unknown> {
    const { server, ca, cert = '', key = '' } = this.admin;
    const request = https.request(server + path, {
      method: 'POST',
      ca,
      cert,
      key,
      headers: { 'content-type': 'application/json' },
    });
    request.end(JSON.stringify(body));
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return JSON.parse(await text(response));
  }

  /** Without a namespace controller a namespace stays; what is in it goes. */
  async remove(): Promise<void> {
    const kinds = 'deployments,replicasets,statefulsets,jobs,cronjobs,pods,secrets,serviceaccounts,rolebindings';
    await this.kubectl(['delete', kinds, '--all', '--wait=false', '--force', '--grace-period=0']);
    for (const one of this.clusterWide) await this.kubectl(['delete', one]);
    await this.kubectl(['delete', 'namespace', this.namespace, '--wait=false']);
  }
}
