import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server, ServerCredentials, status as grpcStatus, type ServerDuplexStream } from '@grpc/grpc-js';
import { expect } from 'chai';
import winston from 'winston';
import { connect, type Connection } from '../../../../agent/hub/connection.ts';
import {
  AgentHubService,
  AppPhase,
  OrderKind,
  OrderStatus,
  type AgentMessage,
  type AgentState,
  type OperatorMessage,
  type Order,
} from '../../../../proto/gen/agent/v1/agent.ts';

const silent = winston.createLogger({ silent: true });
const serverName = 'podferry-operator.migration-system.svc';
const hello = {
  agentVersion: '1',
  criuVersion: '4.2.1',
  kernelRelease: '6',
  machine: 'x86_64',
  cpuFlags: ['sse'],
  kernelLacks: [],
};

function state(phase: AppPhase): AgentState {
  const nothing = { failure: undefined, checkpoint: undefined, transfer: undefined };
  const none = { order: OrderKind.ORDER_KIND_UNSPECIFIED, status: OrderStatus.ORDER_STATUS_UNSPECIFIED };
  return {
    phase,
    migrationUid: '',
    attempt: 0,
    appPid: 1,
    preflight: [],
    findings: [],
    directPort: 0,
    draining: false,
    ...none,
    ...nothing,
  };
}

type Stream = ServerDuplexStream<AgentMessage, OperatorMessage>;

/** A hub over real TLS that hands each stream to the test. */
class FakeHub {
  readonly streams: Stream[] = [];
  readonly heard: { token: unknown; message: AgentMessage['message'] }[] = [];
  private readonly waiting: (() => void)[] = [];
  private server = new Server();

  async listen(credentials: ServerCredentials, port: number): Promise<number> {
    this.server = new Server();
    this.server.addService(AgentHubService, {
      connect: (stream: Stream) => {
        this.streams.push(stream);
        const token = stream.metadata.get('authorization')[0];
        stream.on('data', ({ message }: AgentMessage) => {
          this.heard.push({ token, message });
          for (const wake of this.waiting.splice(0)) wake();
        });
        stream.on('error', () => stream.end()); // the client has gone: what the test looks at is on its side
        stream.on('end', () => stream.end());
      },
    });
    return new Promise((resolve, reject) => {
      this.server.bindAsync(`127.0.0.1:${port}`, credentials, (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
  }
  async hears(count: number): Promise<void> {
    while (this.heard.length < count) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }
  stop(): void {
    this.server.forceShutdown();
  }
}

describe('agent/hub/connection', () => {
  const folder = mkdtempSync(join(tmpdir(), 'podferry-hub-'));
  const tokenFile = join(folder, 'token');
  let serverCredentials: ServerCredentials;
  let ca: string;
  let hub: FakeHub;
  let connection: Connection | undefined;

  before(() => {
    const key = join(folder, 'key');
    const certificate = join(folder, 'certificate');
    execFileSync(
      'openssl',
      [
        ...[
          'req',
          '-x509',
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:P-256',
          '-nodes',
          '-days',
          '2',
          '-subj',
          '/CN=test',
        ],
        ...['-addext', `subjectAltName=DNS:${serverName}`, '-keyout', key, '-out', certificate],
      ],
      { stdio: 'ignore' },
    );
    ca = readFileSync(certificate, 'utf8');
    serverCredentials = ServerCredentials.createSsl(null, [
      { private_key: readFileSync(key), cert_chain: Buffer.from(ca) },
    ]);
    writeFileSync(tokenFile, 'token-1\n');
  });
  beforeEach(() => {
    hub = new FakeHub();
  });
  afterEach(async () => {
    await connection?.close();
    connection = undefined;
    hub.stop();
  });
  after(() => rmSync(folder, { recursive: true }));

  const open = (port: number, orders: Order[] = [], name = serverName): Connection =>
    connect(
      { address: `127.0.0.1:${port}`, ca, serverName: name, tokenFile },
      hello,
      state(AppPhase.APP_PHASE_WAITING),
      { onWelcome: () => undefined, onOrder: (order) => orders.push(order) },
      silent,
    );

  it('says hello and its state with the token, then each change', async () => {
    connection = open(await hub.listen(serverCredentials, 0));
    await hub.hears(2);
    connection.report(state(AppPhase.APP_PHASE_RUNNING));
    await hub.hears(3);
    expect(hub.heard.map(({ message }) => message?.$case)).to.deep.equal(['hello', 'state', 'state']);
    expect(hub.heard[0]?.token).to.equal('Bearer token-1');
    const last = hub.heard[2]?.message;
    expect(last?.$case === 'state' && last.value.phase).to.equal(AppPhase.APP_PHASE_RUNNING);
  });

  it('comes back after the operator has gone, with the token of then and the newest state', async () => {
    const port = await hub.listen(serverCredentials, 0);
    connection = open(port);
    await hub.hears(2);
    hub.stop();
    writeFileSync(tokenFile, 'token-2\n');
    connection.report(state(AppPhase.APP_PHASE_RUNNING));
    await hub.listen(serverCredentials, port);
    await hub.hears(4);
    const [, , again, current] = hub.heard;
    expect(again?.token).to.equal('Bearer token-2');
    expect(current?.message?.$case === 'state' && current.message.value.phase).to.equal(AppPhase.APP_PHASE_RUNNING);
  });

  it('comes back after being refused (the replica does not lead)', async () => {
    connection = open(await hub.listen(serverCredentials, 0));
    await hub.hears(2);
    hub.streams[0]?.emit('error', { code: grpcStatus.UNAVAILABLE, details: 'NOT_LEADER' });
    await hub.hears(4);
    expect(hub.streams).to.have.length(2);
  });

  it('never speaks to a server of another name', async () => {
    const port = await hub.listen(serverCredentials, 0);
    connection = open(port, [], 'somebody.else.svc');
    const right = open(port);
    await hub.hears(2); // those of the right one
    await right.close();
    expect(hub.streams).to.have.length(1);
  });
});
