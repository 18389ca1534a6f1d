import { credentials, Metadata, status as grpcStatus } from '@grpc/grpc-js';
import { expect } from 'chai';
import { AgentHubClient, type AgentMessage } from '../../proto/gen/agent/v1/agent.ts';
import { labels, ports, secrets, services, systemNamespace, tokenAudience } from '../../proto/names.ts';
import { apply, getJson, kubectl } from './support/kubectl.ts';
import { createNamespace, deleteNamespace, images, testbedCommand } from './support/suite.ts';
import { deployment, onlyPod, type Pod } from './support/workload.ts';
import { agentPid, listeningPorts } from './support/testbed.ts';

const namespace = 'podferry-trust';
const serverName = `${services.operator}.${systemNamespace}.svc`;

/** Opens a stream to the hub with the given bearer token; resolves with the gRPC status it ends with, or 'welcomed'. */
async function knock(address: string, ca: Buffer, token: string | undefined): Promise<number | 'welcomed'> {
  const client = new AgentHubClient(address, credentials.createSsl(ca), {
    'grpc.ssl_target_name_override': serverName,
    'grpc.default_authority': serverName,
  });
  const metadata = new Metadata();
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
  const stream = client.connect(metadata, { deadline: Date.now() + 10_000 });
  const hello = {
    agentVersion: 'x',
    criuVersion: '4.2.1',
    kernelRelease: 'x',
    machine: 'x86_64',
    cpuFlags: [],
    kernelLacks: [],
  };
  const message: AgentMessage = { message: { $case: 'hello', value: hello } };
  stream.write(message);
  try {
    return await new Promise((resolve) => {
      stream.on('data', () => resolve('welcomed'));
      stream.on('error', (error: { code?: number }) => resolve(error.code ?? -1));
      stream.on('end', () => resolve(grpcStatus.OK));
    });
  } finally {
    stream.cancel();
    client.close();
  }
}

describe('another pod cannot make the agent or the operator do anything', function () {
  this.timeout(120_000);
  let address: string;
  let ca: Buffer;
  let enabled: Pod;
  let stranger: Pod;

  before(async function () {
    if (testbedCommand() === undefined) {
      console.log(
        '      skipped: the test dials pod addresses from outside the cluster, which only the test bed allows',
      );
      this.skip();
    }
    await createNamespace(namespace);
    await apply(
      deployment({ namespace, name: 'enabled', image: images().static, container: { command: ['/server'] } }),
      deployment({
        namespace,
        name: 'stranger',
        image: images().static,
        container: { command: ['/server'] },
        enabled: false,
      }),
    );
    enabled = await onlyPod(namespace, 'enabled');
    stranger = await onlyPod(namespace, 'stranger');
    const leader = await getJson<{ items: readonly Pod[] }>([
      'get',
      'pods',
      '-n',
      systemNamespace,
      '-l',
      `${labels.leader}=true`,
    ]);
    address = `${leader.items[0]?.status.podIP}:${ports.hub}`;
    const secret = await getJson<{ data: Record<string, string> }>([
      'get',
      'secret',
      '-n',
      systemNamespace,
      secrets.operatorTls,
    ]);
    ca = Buffer.from(secret.data['ca.crt'] ?? '', 'base64');
  });
  after(() => deleteNamespace(namespace));

  /** A token as the kubelet would project it, through the TokenRequest API. */
  const tokenFor = async (pod: Pod, audience: string): Promise<string> => {
    const request = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {
        audiences: [audience],
        expirationSeconds: 600,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod.metadata.name, uid: pod.metadata.uid },
      },
    };
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/default/token`;
    const answer = await kubectl(['create', '--raw', path, '-f', '-'], { input: JSON.stringify(request) });
    return (JSON.parse(answer) as { status: { token: string } }).status.token;
  };

  it('a connection without a token is refused', async () => {
    expect(await knock(address, ca, undefined)).to.equal(grpcStatus.UNAUTHENTICATED);
  });
  it('a token that is none is refused', async () => {
    expect(await knock(address, ca, 'not.a.token')).to.equal(grpcStatus.UNAUTHENTICATED);
  });
  it('a token for another audience is refused', async () => {
    expect(await knock(address, ca, await tokenFor(enabled, 'somebody.else'))).to.equal(grpcStatus.UNAUTHENTICATED);
  });
  it('the right token of a pod that is not enabled is refused', async () => {
    expect(await knock(address, ca, await tokenFor(stranger, tokenAudience))).to.equal(grpcStatus.UNAUTHENTICATED);
  });
  it("an enabled pod's own token is welcomed (so the refusals above mean something)", async () => {
    expect(await knock(address, ca, await tokenFor(enabled, tokenAudience))).to.equal('welcomed');
  });
  it('the agent listens on nothing: only the application does', async () => {
    expect(await listeningPorts(await agentPid(enabled.metadata.uid))).to.deep.equal([8080]);
  });
});
