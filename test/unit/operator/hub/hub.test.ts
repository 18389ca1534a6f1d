import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { Metadata, credentials, status, type ServiceError } from '@grpc/grpc-js';
import { expect } from 'chai';
import { PodferryError } from '../../../../proto/errors.ts';
import {
  AgentHubClient,
  AppPhase,
  OrderKind,
  type AgentMessage,
  type Store,
  type Welcome,
} from '../../../../proto/gen/agent/v1/agent.ts';
import { systemClock } from '../../../../operator/clock.ts';
import { createAgents, type Agents } from '../../../../operator/hub/agents.ts';
import { createAuthenticate } from '../../../../operator/hub/auth.ts';
import { createHub, type Hub, type HubOptions } from '../../../../operator/hub/hub.ts';
import { createTlsServer, keepCertificate, readKeyPair, type KeyPair } from '../../../../operator/hub/tls.ts';
import type { Cache } from '../../../../operator/kube/informer.ts';
import type { Pod } from '../../../../operator/kube/objects.ts';
import { makeCertificate, type TestCertificate } from '../../../fakes/certificate.ts';
import { answering } from '../../../fakes/kube-client.ts';
import { agentState, pod, sourceUid } from '../../../fakes/operator-objects.ts';
import { silentLog } from '../../../fakes/silent-log.ts';
import { SimulatedAgent } from '../../../fakes/simulated-agent.ts';
import { eventually } from '../../../fakes/until.ts';

const serverName = 'podferry-operator.migration-system.svc';
const audience = 'podferry.migration.io';
const otherUid = '99999999-9999-4999-8999-999999999999';

/** Token -> what the API server says about it. */
const reviews: Record<string, unknown> = {
  good: reviewOf('web-5d4f8-abcde', sourceUid),
  'other-pod': reviewOf('other', otherUid),
  'replaced-pod': reviewOf('web-5d4f8-abcde', '77777777-7777-4777-8777-777777777777'),
  'wrong-audience': { ...reviewOf('web-5d4f8-abcde', sourceUid), audiences: ['https://kubernetes.default.svc'] },
  'no-audience-known': { ...reviewOf('web-5d4f8-abcde', sourceUid), audiences: [] },
  'no-pod': { authenticated: true, audiences: [audience], user: { username: 'system:serviceaccount:default:default' } },
  'not-a-service-account': { ...reviewOf('web-5d4f8-abcde', sourceUid), user: { username: 'admin' } },
  expired: { authenticated: false, error: 'token expired' },
};

function reviewOf(name: string, uid: string): Record<string, unknown> {
  const extra = { 'authentication.kubernetes.io/pod-name': [name], 'authentication.kubernetes.io/pod-uid': [uid] };
  return {
    authenticated: true,
    audiences: [audience],
    user: { username: 'system:serviceaccount:default:default', extra },
  };
}

/** `other` exists, but is none of ours. */
const podsByUid: Record<string, Pod> = {
  [sourceUid]: pod(),
  [otherUid]: pod({ metadata: { name: 'other', uid: otherUid, annotations: {} } }),
};
const pods: Cache<Pod> = {
  get: () => undefined,
  byUid: (uid) => podsByUid[uid],
  list: () => Object.values(podsByUid),
};

const welcomeTo = (uid: string): Welcome => ({
  store: undefined,
  keyPrefix: `key/${uid}/`,
  generation: 0,
  instance: uid,
  dataKey: Buffer.alloc(0),
  keyId: '',
  retention: undefined,
});

/** A store whose credentials last a second. */
const shortLived = (accessKeyId: string): Store => ({
  endpoint: '',
  region: '',
  bucket: 'b',
  accessKeyId,
  secretAccessKey: '',
  forcePathStyle: false,
  validSeconds: 1,
});

describe('operator/hub over TLS', () => {
  let certificate: TestCertificate;
  let inUse: KeyPair;
  let server: tls.Server;
  let hub: Hub;
  let agents: Agents;
  let address: string;
  let isLeading: boolean;
  let asked: string[];
  let welcomeFor: HubOptions['welcomeFor'];
  const cleanups: (() => void)[] = [];

  before(() => {
    certificate = makeCertificate(serverName);
  });
  beforeEach(async () => {
    isLeading = true;
    asked = [];
    welcomeFor = welcomeTo;
    agents = createAgents(systemClock);
    const client = answering(({ body }) => {
      const { spec } = body as { spec: { token: string; audiences: string[] } };
      expect(spec.audiences).to.deep.equal([audience]);
      asked.push(spec.token);
      return { status: reviews[spec.token] ?? { authenticated: false } };
    });
    hub = createHub({
      authenticate: createAuthenticate(client, pods, systemClock),
      agents,
      welcomeFor: (uid) => welcomeFor(uid),
      isLeading: () => isLeading,
      log: silentLog(),
      helloWithinMs: 100,
    });
    inUse = await readKeyPair(certificate.dir);
    server = createTlsServer(inUse, (socket) => hub.accept(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0)) cleanup();
    hub.close();
    server.close();
    await once(server, 'close');
  });

  function clientOf(ca: Buffer = certificate.pem): AgentHubClient {
    const client = new AgentHubClient(address, credentials.createSsl(ca), {
      'grpc.ssl_target_name_override': serverName,
      'grpc.default_authority': serverName,
      'grpc.use_local_subchannel_pool': 1,
    });
    cleanups.push(() => client.close());
    return client;
  }

  /** Sends the messages and says how the call ends. */
  async function refusal(token: string | undefined, ...messages: AgentMessage[]): Promise<status> {
    const metadata = new Metadata();
    if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
    const call = clientOf().connect(metadata);
    call.on('data', () => undefined);
    for (const message of messages) call.write(message);
    const [error] = (await once(call, 'error').catch((thrown: unknown) => [thrown])) as [ServiceError];
    return error.code;
  }

  async function connected(token = 'good', ca = certificate.pem): Promise<SimulatedAgent> {
    const phase = AppPhase.APP_PHASE_RUNNING;
    const agent = new SimulatedAgent({ address, ca, serverName, token: async () => token, phase });
    cleanups.push(() => agent.stop());
    await agent.connect();
    await eventually('the agent is known', () => agents.view(sourceUid)?.state !== undefined);
    return agent;
  }

  const hello: AgentMessage = {
    message: {
      $case: 'hello',
      value: { agentVersion: 'x', criuVersion: '4.2.1', kernelRelease: '', machine: '', cpuFlags: [], kernelLacks: [] },
    },
  };
  const state: AgentMessage = { message: { $case: 'state', value: agentState() } };

  for (const token of [undefined, 'garbage', ...Object.keys(reviews).filter((each) => each !== 'good')]) {
    it(`refuses the token: ${token ?? 'none at all'}`, async () => {
      expect(await refusal(token, hello, state)).to.equal(status.UNAUTHENTICATED);
      expect(agents.view(sourceUid)).to.equal(undefined);
      expect(agents.view(otherUid)).to.equal(undefined);
    });
  }

  it('asks the API server about a token once within seconds, and never about what is no token', async () => {
    await refusal('expired', hello);
    await refusal('expired', hello);
    await refusal(undefined, hello);
    expect(asked).to.deep.equal(['expired']);
  });

  it('welcomes an agent, hears its states and gives it orders', async () => {
    const agent = await connected();
    await eventually('it is welcome', () => agent.welcome !== undefined);
    expect(agent.welcome?.keyPrefix).to.equal(`key/${sourceUid}/`);
    const kind = OrderKind.ORDER_KIND_PREFLIGHT;
    agents.order(sourceUid, {
      kind,
      migrationUid: 'm',
      attempt: 1,
      timeoutMs: 1_000,
      checkpoint: undefined,
      direct: undefined,
      options: undefined,
    });
    await eventually('it has answered', () => agents.view(sourceUid)?.state?.order === kind);
    agent.stop();
    await eventually('its loss is known', () => agents.view(sourceUid)?.isConnected === false);
  });

  it('renews credentials before they end, on the same stream', async () => {
    let given = 0;
    welcomeFor = async (uid) => ({ ...welcomeTo(uid), store: shortLived(`key ${(given += 1)}`) });
    const agent = await connected();
    await eventually('it has the second key', () => agent.welcome?.store?.accessKeyId === 'key 2');
    await eventually('and the third', () => agent.welcome?.store?.accessKeyId === 'key 3');
    expect(asked).to.have.length(1);
  });

  it('renews nothing for those who are gone', async () => {
    let given = 0;
    let renewed: (() => void) | undefined;
    welcomeFor = async (uid) => {
      given += 1;
      if (given === 2) await new Promise<void>((resolve) => (renewed = resolve));
      return { ...welcomeTo(uid), store: given < 3 ? shortLived('key') : undefined };
    };
    const agent = await connected();
    await eventually('it is renewed', () => renewed !== undefined);
    agent.stop();
    await eventually('its loss is known', () => agents.view(sourceUid)?.isConnected === false);
    renewed?.();
    const next = await connected();
    await eventually('the next is welcome', () => next.welcome !== undefined);
    expect(given).to.equal(3);
  });

  it('hears what an agent says while its welcome is made, and only the last of it', async () => {
    let make: ((welcome: Welcome) => void) | undefined;
    welcomeFor = async () => new Promise<Welcome>((resolve) => (make = resolve));
    const phase = AppPhase.APP_PHASE_RUNNING;
    const agent = new SimulatedAgent({ address, ca: certificate.pem, serverName, token: async () => 'good', phase });
    cleanups.push(() => agent.stop());
    await agent.connect();
    await eventually('the welcome is being made', () => make !== undefined);
    agent.report({ appPid: 78 });
    expect(agents.view(sourceUid)).to.equal(undefined);
    make?.(welcomeTo(sourceUid));
    await eventually('its word is heard', () => agents.view(sourceUid)?.state?.appPid === 78);
  });

  it('takes nobody in whom it cannot tell a store', async () => {
    welcomeFor = () => undefined;
    expect(await refusal('good', hello, state)).to.equal(status.UNAVAILABLE);
    welcomeFor = async () => Promise.reject(new PodferryError('STORE_DENIED', 'no'));
    expect(await refusal('good', hello, state)).to.equal(status.UNAVAILABLE);
    expect(agents.view(sourceUid)).to.equal(undefined);
  });

  it('refuses a state before the Hello, a second Hello, silence, and a message that is too large', async () => {
    expect(await refusal('good', state)).to.equal(status.INVALID_ARGUMENT);
    expect(await refusal('good', hello, hello)).to.equal(status.INVALID_ARGUMENT);
    expect(await refusal('good')).to.equal(status.DEADLINE_EXCEEDED);
    const preflight = ['x'.repeat(300_000)];
    const large: AgentMessage = { message: { $case: 'state', value: agentState({ preflight }) } };
    expect(await refusal('good', hello, large)).to.equal(status.RESOURCE_EXHAUSTED);
    await eventually('the stream is over', () => agents.view(sourceUid)?.isConnected === false);
  });

  it('takes nobody in while it does not lead', async () => {
    isLeading = false;
    expect(await refusal('good', hello, state)).to.equal(status.UNAVAILABLE);
    expect(asked).to.deep.equal([]);
  });

  it('does not answer a client that knows another CA, nor one without TLS', async () => {
    const stranger = makeCertificate(serverName);
    const call = clientOf(stranger.pem).connect(new Metadata());
    const [error] = (await once(call, 'error').catch((thrown: unknown) => [thrown])) as [ServiceError];
    expect(error.code).to.equal(status.UNAVAILABLE);
    const plain = new AgentHubClient(address, credentials.createInsecure());
    cleanups.push(() => plain.close());
    const open = plain.connect(new Metadata());
    const [refused] = (await once(open, 'error').catch((thrown: unknown) => [thrown])) as [ServiceError];
    expect(refused.code).to.equal(status.UNAVAILABLE);
  });

  it('serves a renewed certificate to new connections, keeps the open ones, and survives a broken one', async () => {
    const own = makeCertificate(serverName);
    const stop = new AbortController();
    let renewals = 0;
    const errors: unknown[] = [];
    const keeping = keepCertificate({
      dir: own.dir,
      inUse,
      server,
      everyMs: 1,
      signal: stop.signal,
      onChange: () => {
        renewals += 1;
      },
      onError: (error) => errors.push(error),
    });
    const first = await connected();
    await eventually('the new certificate is in use', () => renewals === 1);
    const socket = tls.connect({ port: Number(address.split(':')[1]), ca: own.pem, servername: serverName });
    await once(socket, 'secureConnect');
    expect(socket.authorized).to.equal(true);
    socket.destroy();
    writeFileSync(join(own.dir, 'tls.crt'), 'nonsense');
    await eventually('the nonsense was refused', () => errors.length > 0);
    makeCertificate(serverName, own.dir);
    await eventually('it was renewed again', () => renewals >= 2);
    first.report({ appPid: 77 });
    await eventually('the open stream lives', () => agents.view(sourceUid)?.state?.appPid === 77);
    stop.abort();
    await keeping;
  });

  it('ends its streams when it ends, so that agents look for the next leader', async () => {
    const metadata = new Metadata();
    metadata.set('authorization', 'Bearer good');
    const call = clientOf().connect(metadata);
    const heard: unknown[] = [];
    call.on('data', (message: unknown) => heard.push(message));
    call.write(hello);
    await eventually('it is welcome', () => heard.length === 1);
    hub.close();
    const [error] = (await once(call, 'error').catch((thrown: unknown) => [thrown])) as [ServiceError];
    expect(error.code).to.equal(status.UNAVAILABLE);
  });
});
