import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { credentials, Metadata, type ClientDuplexStream } from '@grpc/grpc-js';
import { errorFields, type Log } from '../../proto/logging.ts';
import {
  AgentHubClient,
  type AgentMessage,
  type AgentState,
  type Hello,
  type OperatorMessage,
  type Order,
  type Welcome,
} from '../../proto/gen/agent/v1/agent.ts';

export interface ConnectionSettings {
  readonly address: string;
  readonly ca: string;
  /** The name in the operator's certificate; the address may be an IP. */
  readonly serverName: string;
  readonly tokenFile: string;
}

export interface Handlers {
  onWelcome(welcome: Welcome): void;
  onOrder(order: Order): void;
}

export interface Connection {
  /** Sends the state now when connected; it is sent again on each connect, so that losing a stream loses nothing. */
  report(state: AgentState): void;
  /** Ends the stream and the reconnecting. */
  close(): Promise<void>;
}

const firstRetryMs = 200;
const lastRetryMs = 5_000;

/**
 * Keeps one outgoing stream to the operator: TLS by our CA, the projected token as bearer (read anew on each connect, the kubelet
 * rotates it), reconnecting for ever with jittered back-off. Nobody can connect to the agent.
 */
export function connect(
  settings: ConnectionSettings,
  hello: Hello,
  first: AgentState,
  handlers: Handlers,
  log: Log,
): Connection {
  const client = new AgentHubClient(settings.address, credentials.createSsl(Buffer.from(settings.ca)), {
    'grpc.ssl_target_name_override': settings.serverName,
    'grpc.default_authority': settings.serverName,
    'grpc.keepalive_time_ms': 5_000,
    'grpc.keepalive_timeout_ms': 3_000,
    'grpc.keepalive_permit_without_calls': 1,
    // Back-off is ours, below: a leader change must be noticed in well under a second.
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1_000,
  });
  const stopped = new AbortController();
  let state = first;
  let stream: ClientDuplexStream<AgentMessage, OperatorMessage> | undefined;

  const send = (message: AgentMessage['message']): void => {
    stream?.write({ message });
  };

  /** One stream from opening to end; resolves with whether the operator ever welcomed us. */
  const converse = async (): Promise<boolean> => {
    const token = (await readFile(settings.tokenFile, 'utf8')).trim();
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${token}`);
    return new Promise((resolve) => {
      let wasWelcomed = false;
      const opened = client.connect(metadata);
      stream = opened;
      const ended = (): void => {
        if (stream === opened) stream = undefined;
        resolve(wasWelcomed);
      };
      opened.on('data', ({ message }: OperatorMessage) => {
        if (message?.$case === 'welcome') {
          wasWelcomed = true;
          log.info('connected to the operator', { generation: message.value.generation });
          handlers.onWelcome(message.value);
        } else if (message?.$case === 'order') handlers.onOrder(message.value);
      });
      opened.on('error', (error) => {
        log.debug('stream to the operator ended', errorFields(error));
        ended();
      });
      opened.on('end', () => {
        opened.end();
        ended();
      });
      send({ $case: 'hello', value: hello });
      send({ $case: 'state', value: state });
    });
  };

  const keepConnected = async (): Promise<void> => {
    let retryMs = firstRetryMs;
    while (!stopped.signal.aborted) {
      let wasWelcomed = false;
      try {
        wasWelcomed = await converse();
      } catch (error) {
        log.warn('cannot open a stream to the operator', errorFields(error));
      }
      retryMs = wasWelcomed ? firstRetryMs : Math.min(retryMs * 2, lastRetryMs);
      await delay(retryMs * (0.5 + Math.random() / 2), undefined, { signal: stopped.signal }).catch(
        (error: unknown) => {
          if (!stopped.signal.aborted) throw error;
        },
      );
    }
  };
  const running = keepConnected();

  return {
    report(next) {
      state = next;
      send({ $case: 'state', value: next });
    },
    async close() {
      stopped.abort();
      stream?.cancel();
      client.close();
      await running;
    },
  };
}
