import type { Socket } from 'node:net';
import { Server, ServerCredentials, status, type ServerDuplexStream } from '@grpc/grpc-js';
import { PodferryError } from '../../proto/errors.ts';
import { errorFields, type Log } from '../../proto/logging.ts';
import {
  AgentHubService,
  type AgentMessage,
  type AgentState,
  type Hello,
  type OperatorMessage,
  type Welcome,
} from '../../proto/gen/agent/v1/agent.ts';
import type { AgentStream, Agents, PodIdentity, Registration } from './agents.ts';
import type { Authenticate } from './auth.ts';

export interface HubOptions {
  readonly authenticate: Authenticate;
  readonly agents: Agents;
  /** Where the pod's checkpoints live; undefined when that cannot be told yet. Asked again when half of the time of its credentials is over. */
  readonly welcomeFor: (podUid: string) => Welcome | undefined | Promise<Welcome | undefined>;
  readonly isLeading: () => boolean;
  readonly log: Log;
  readonly helloWithinMs?: number;
  readonly keepaliveMs?: number;
}

export interface Hub {
  /** Serves one connection whose TLS handshake is done. */
  accept(socket: Socket): void;
  /** Ends all streams; agents connect again, to the next leader. */
  close(): void;
}

type Call = ServerDuplexStream<AgentMessage, OperatorMessage>;

const maxMessageBytes = 256 * 1024;
const renewAgainMs = 30_000;

/**
 * The gRPC service AgentHub: one stream per pod, the newest wins. A stream speaks for the pod that its token is bound to and
 * for no other: nothing in the messages names a pod.
 */
export function createHub(options: HubOptions): Hub {
  const { keepaliveMs = 4_000, log } = options;
  const server = new Server({
    // together below 10 s: that is how long a dead agent may look alive
    'grpc.keepalive_time_ms': keepaliveMs,
    'grpc.keepalive_timeout_ms': keepaliveMs,
    'grpc.max_connection_idle_ms': 60_000,
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_concurrent_streams': 4,
    'grpc.enable_channelz': 0,
  });
  server.addService(AgentHubService, {
    connect: (call: Call) => {
      serve(call, options).catch((error: unknown) => {
        const refusal = toRefusal(error);
        log.warn('agent refused', { ...errorFields(error), peer: call.getPeer() });
        refuse(call, refusal.code, refusal.details);
      });
    },
  });
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const sockets = new Set<Socket>();
  return {
    accept(socket) {
      // a connection that stays open would bring the agent back here, instead of to the leader by way of the Service
      if (!options.isLeading()) {
        socket.destroy();
        return;
      }
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      socket.setNoDelay(true);
      injector.injectConnection(socket);
    },
    close() {
      options.agents.closeAll('the operator ends');
      server.forceShutdown();
      // injected connections are not the server's own: it leaves them open
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function serve(call: Call, options: HubOptions): Promise<void> {
  if (!options.isLeading()) throw new PodferryError('NOT_LEADER', 'this replica does not lead');
  // a call that fails while it waits for its authentication must not take the process with it
  let isOver = false;
  const over = (): void => {
    isOver = true;
  };
  call.on('cancelled', over);
  call.on('error', over);
  const pod = await options.authenticate(call.metadata.get('authorization')[0]?.toString());
  if (!isOver) converse(call, pod, options);
}

function converse(call: Call, pod: PodIdentity, options: HubOptions): void {
  const log = options.log.child({ namespace: pod.namespace, pod: pod.name, uid: pod.uid });
  let registration: Registration | undefined;
  let isGreeting = false;
  let isOver = false;
  /** The agent's last word while it waits for its welcome. */
  let waiting: AgentState | undefined;
  let renewal: NodeJS.Timeout | undefined;
  const helloTimer = setTimeout(() => {
    refuse(call, status.DEADLINE_EXCEEDED, 'no Hello was sent');
  }, options.helloWithinMs ?? 10_000);

  function over(): void {
    isOver = true;
    clearTimeout(helloTimer);
    clearTimeout(renewal);
    if (registration === undefined) return;
    registration.lost();
    registration = undefined;
    log.info('agent disconnected');
  }

  function send(welcome: Welcome): void {
    call.write({ message: { $case: 'welcome', value: welcome } });
    const { validSeconds } = welcome.store ?? {};
    if (validSeconds !== undefined) renewal = setTimeout(() => void renew(), (validSeconds * 1000) / 2);
  }

  async function renew(): Promise<void> {
    try {
      const welcome = await options.welcomeFor(pod.uid);
      if (isOver) return;
      if (welcome === undefined) throw new PodferryError('SOURCE_GONE', 'the owner of the pod is not known any more');
      send(welcome);
    } catch (error) {
      log.warn('credentials not renewed; trying again', errorFields(error));
      if (!isOver) renewal = setTimeout(() => void renew(), renewAgainMs);
    }
  }

  async function greet(hello: Hello): Promise<void> {
    clearTimeout(helloTimer);
    const welcome = await options.welcomeFor(pod.uid);
    if (isOver) return;
    if (welcome === undefined) {
      refuse(call, status.UNAVAILABLE, 'the owner of the pod is not known yet');
      return;
    }
    send(welcome);
    registration = options.agents.register(pod, hello, streamOf(call));
    log.info('agent connected', { agentVersion: hello.agentVersion, criuVersion: hello.criuVersion });
    if (waiting !== undefined) registration.report(waiting);
  }

  call.on('data', ({ message }: AgentMessage) => {
    if (message?.$case === 'hello' && !isGreeting) {
      isGreeting = true;
      greet(message.value).catch((error: unknown) => {
        log.warn('agent cannot be welcomed', errorFields(error));
        refuse(call, status.UNAVAILABLE, 'the store of the pod cannot be told now');
      });
    } else if (message?.$case === 'state' && registration !== undefined) registration.report(message.value);
    else if (message?.$case === 'state' && isGreeting) waiting = message.value;
    else refuse(call, status.INVALID_ARGUMENT, 'a stream is one Hello, then states');
  });
  call.on('end', () => {
    over();
    call.end();
  });
  for (const event of ['cancelled', 'close', 'error']) call.on(event, over);
}

function streamOf(call: Call): AgentStream {
  return {
    send: (order) => {
      call.write({ message: { $case: 'order', value: order } });
    },
    close: (reason) => refuse(call, status.UNAVAILABLE, reason),
  };
}

function refuse(call: Call, code: status, details: string): void {
  if (!call.cancelled) call.emit('error', { code, details, name: 'Refused', message: details });
}

function toRefusal(error: unknown): { readonly code: status; readonly details: string } {
  if (error instanceof PodferryError && error.code === 'UNAUTHENTICATED') {
    return { code: status.UNAUTHENTICATED, details: error.message };
  }
  if (error instanceof PodferryError && error.code === 'NOT_LEADER') {
    return { code: status.UNAVAILABLE, details: error.message };
  }
  return { code: status.UNAVAILABLE, details: 'the agent could not be authenticated now' };
}
