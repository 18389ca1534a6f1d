import { Metadata, credentials, type ClientDuplexStream } from '@grpc/grpc-js';
import {
  AgentHubClient,
  AppPhase,
  OrderKind,
  OrderStatus,
  type AgentMessage,
  type AgentState,
  type Hello,
  type OperatorMessage,
  type Order,
  type Welcome,
} from '../../proto/gen/agent/v1/agent.ts';
import { agentState, hello, noTransfer } from './operator-objects.ts';

export interface SimulatedAgentOptions {
  readonly address: string;
  readonly ca: Buffer;
  readonly serverName: string;
  readonly token: () => Promise<string>;
  readonly phase: AppPhase;
  /** Called for each order that is new; what it answers is the agent's next state. */
  readonly obey?: (order: Order, state: AgentState) => Partial<AgentState>;
  /** Where its greeting differs. */
  readonly hello?: Partial<Hello>;
  /** How long it works on an order. */
  readonly tookMs?: (order: Order) => number;
}

/** The agent's side of the contract, over real gRPC and TLS, with a process that exists only in words. */
export class SimulatedAgent {
  state: AgentState;
  welcome: Welcome | undefined;
  readonly orders: OrderKind[] = [];
  private readonly client: AgentHubClient;
  private stream: ClientDuplexStream<AgentMessage, OperatorMessage> | undefined;
  private isStopped = false;

  constructor(private readonly options: SimulatedAgentOptions) {
    this.state = agentState({ phase: options.phase, appPid: 10_000 });
    this.client = new AgentHubClient(options.address, credentials.createSsl(options.ca), {
      'grpc.ssl_target_name_override': options.serverName,
      'grpc.default_authority': options.serverName,
      'grpc.initial_reconnect_backoff_ms': 50,
      'grpc.max_reconnect_backoff_ms': 200,
    });
  }

  /** Connects, and again whenever the stream ends, until `stop`. */
  async connect(): Promise<void> {
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${await this.options.token()}`);
    const stream = this.client.connect(metadata);
    this.stream = stream;
    stream.on('data', ({ message }: OperatorMessage) => {
      if (message?.$case === 'welcome') this.welcome = message.value;
      else if (message?.$case === 'order') this.take(message.value);
    });
    stream.on('error', () => this.reconnect(stream));
    stream.on('end', () => this.reconnect(stream));
    stream.write({ message: { $case: 'hello', value: { ...hello, ...this.options.hello } } });
    stream.write({ message: { $case: 'state', value: this.state } });
  }

  /** Says something by itself. */
  report(change: Partial<AgentState>): void {
    this.state = { ...this.state, ...change };
    this.stream?.write({ message: { $case: 'state', value: this.state } });
  }

  stop(): void {
    this.isStopped = true;
    this.stream?.cancel();
    this.client.close();
  }

  private reconnect(stream: unknown): void {
    if (this.isStopped || this.stream !== stream) return;
    this.stream = undefined;
    setTimeout(() => void this.connect().catch(() => this.reconnect(undefined)), 50).unref();
  }

  private take(order: Order): void {
    const { kind, migrationUid, attempt } = order;
    if (this.state.migrationUid === migrationUid && this.state.order === kind) return;
    this.orders.push(kind);
    const taken = { migrationUid, attempt, order: kind, failure: undefined };
    this.report({ ...taken, status: OrderStatus.ORDER_STATUS_WORKING });
    const tookMs = this.options.tookMs?.(order) ?? 0;
    if (tookMs === 0) this.end(order);
    else setTimeout(() => this.end(order), tookMs);
  }

  private end(order: Order): void {
    const answer = this.options.obey?.(order, this.state) ?? {};
    this.report({ status: OrderStatus.ORDER_STATUS_DONE, ...obeyed(order, this.welcome?.keyPrefix ?? ''), ...answer });
  }
}

function obeyed({ kind, checkpoint, leaveRunning }: Order, keyPrefix: string): Partial<AgentState> {
  if (kind === OrderKind.ORDER_KIND_CHECKPOINT) {
    const id = checkpoint?.id ?? '';
    const manifestKey = `${keyPrefix}checkpoints/${id}/manifest`;
    return {
      phase: leaveRunning === true ? AppPhase.APP_PHASE_RUNNING : AppPhase.APP_PHASE_FROZEN,
      checkpoint: { id, manifestKey, manifestSha256: 'b'.repeat(64) },
      transfer: {
        ...noTransfer,
        pageBytes: 4_096n,
        storedBytes: 2_048n,
        totalBytes: 3_072n,
        freezeMs: 0,
        tookMs: 20,
        timeline: [{ step: 'dump', ms: 15 }],
      },
    };
  }
  if (kind === OrderKind.ORDER_KIND_WARM) return { directPort: 4_000 };
  if (kind === OrderKind.ORDER_KIND_PRECOPY) return { transfer: { ...noTransfer, rounds: 2 } };
  const phase = phaseAfter[kind];
  return phase === undefined ? {} : { phase };
}

const phaseAfter: Partial<Record<OrderKind, AppPhase>> = {
  [OrderKind.ORDER_KIND_RESTORE]: AppPhase.APP_PHASE_RESTORED,
  [OrderKind.ORDER_KIND_CONTINUE]: AppPhase.APP_PHASE_RUNNING,
  [OrderKind.ORDER_KIND_RESUME]: AppPhase.APP_PHASE_RUNNING,
  [OrderKind.ORDER_KIND_RETIRE]: AppPhase.APP_PHASE_MOVED,
};
