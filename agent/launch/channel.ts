import { randomInt } from 'node:crypto';
import { closeSync, constants, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { PodferryError } from '../../proto/errors.ts';
import { firstAppPid } from '../../proto/names.ts';
import { channelFds, decodeReplies, encodeArgv, encodeMessage, messageTypes, type Reply } from './channel-message.ts';
import { errnoName } from './errno.ts';
import { raisePidCounter } from './pid-counter.ts';
import { placeholderLives, type Placeholder } from './placeholder.ts';

export interface PlaceholderState {
  /** Root of the application in the pod's pid namespace; 0 when none runs. */
  readonly appPid: number;
  /** The end of the application does not end the container. */
  readonly hold: boolean;
}

/**
 * Starts the application: forks and execs `argv` inside its container, with nothing but what the container itself gives.
 * @returns its pid, above every pid of the infrastructure
 * @throws PodferryError APP_START_FAILED when it cannot be executed (`detail.errno`, such as ENOENT; the container then ends
 *   with 127 or 126 by itself) or one runs already (EBUSY); PLACEHOLDER_UNREACHABLE; DEADLINE_EXCEEDED
 */
export async function startApp(placeholder: Placeholder, argv: readonly string[], deadlineMs: number): Promise<number> {
  if (argv.length === 0) throw new PodferryError('APP_START_FAILED', 'the application has no command');
  await raisePidCounter(firstAppPid - 1);
  const reply = await converse(placeholder, deadlineMs, (id) => [
    ...encodeArgv(argv, id),
    encodeMessage(messageTypes.start, id),
  ]);
  if (reply.b === 0) return reply.a;
  const errno = errnoName(reply.b);
  const program = argv[0] ?? '';
  throw new PodferryError('APP_START_FAILED', `executing ${program} in its container: ${errno}`, { errno, program });
}

/** @throws PodferryError PLACEHOLDER_UNREACHABLE, DEADLINE_EXCEEDED */
export async function ping(placeholder: Placeholder, deadlineMs: number): Promise<PlaceholderState> {
  return stateOf(await converse(placeholder, deadlineMs, (id) => [encodeMessage(messageTypes.ping, id)]));
}

/**
 * With `on`, the container stays when its application ends, until another one is started or restored in it.
 * @throws PodferryError PLACEHOLDER_UNREACHABLE, DEADLINE_EXCEEDED
 */
export async function hold(placeholder: Placeholder, on: boolean, deadlineMs: number): Promise<PlaceholderState> {
  const flag = on ? 1 : 0;
  return stateOf(await converse(placeholder, deadlineMs, (id) => [encodeMessage(messageTypes.hold, id, flag)]));
}

function stateOf(reply: Reply): PlaceholderState {
  return { appPid: reply.a, hold: reply.b !== 0 };
}

/** Two conversations at once would read each other's replies out of the one pipe. */
const turns = new Map<number, Promise<unknown>>();

/** Sends the messages and waits for the reply to their id; older replies, to an agent that ended, are passed over. */
async function converse(
  placeholder: Placeholder,
  deadlineMs: number,
  messages: (id: number) => readonly Buffer[],
): Promise<Reply> {
  const mine = (turns.get(placeholder.pid) ?? Promise.resolve()).then(async () => {
    const id = randomInt(1, 2 ** 32);
    return exchange(placeholder, deadlineMs, messages(id), id);
  });
  const settled = mine.catch(() => undefined); // its own caller handles it; the next one only waits for the end
  turns.set(placeholder.pid, settled);
  try {
    return await mine;
  } finally {
    if (turns.get(placeholder.pid) === settled) turns.delete(placeholder.pid);
  }
}

async function exchange(
  placeholder: Placeholder,
  deadlineMs: number,
  messages: readonly Buffer[],
  id: number,
): Promise<Reply> {
  const { pid } = placeholder;
  if (!placeholderLives(placeholder)) {
    throw new PodferryError('PLACEHOLDER_UNREACHABLE', `the placeholder, pid ${pid}, has ended`, { pid });
  }
  const replies = openPipe(pid, channelFds.replyRead, 'read');
  let requests: Socket;
  try {
    requests = openPipe(pid, channelFds.requestWrite, 'write');
  } catch (error) {
    replies.destroy();
    throw error;
  }
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const message = `the placeholder, pid ${pid}, did not answer within ${deadlineMs} ms`;
      reject(new PodferryError('DEADLINE_EXCEEDED', message, { pid, deadlineMs }));
    }, deadlineMs);
  });
  try {
    const answered = awaitReply(replies, pid, id);
    return await Promise.race([late, answered, sendAll(requests, pid, messages).then(async () => answered)]);
  } finally {
    clearTimeout(timer);
    requests.destroy();
    replies.destroy();
  }
}

/** Non-blocking from the open on: a pipe of an ending process must not hold up the agent. */
function openPipe(pid: number, fd: number, mode: 'read' | 'write'): Socket {
  let own: number | undefined;
  try {
    const access = mode === 'read' ? constants.O_RDONLY : constants.O_WRONLY;
    own = openSync(`/proc/${pid}/fd/${fd}`, access | constants.O_NONBLOCK);
    return new Socket({ fd: own, readable: mode === 'read', writable: mode === 'write' });
  } catch (cause) {
    if (own !== undefined) closeSync(own);
    throw unreachable(pid, cause);
  }
}

/** One write a message and one at a time, so that each stays whole in the pipe. */
async function sendAll(requests: Socket, pid: number, messages: readonly Buffer[]): Promise<void> {
  for (const message of messages) {
    await new Promise<void>((resolve, reject) => {
      requests.once('error', reject);
      requests.write(message, (error) => {
        requests.off('error', reject);
        if (error) reject(unreachable(pid, error));
        else resolve();
      });
    });
  }
}

async function awaitReply(replies: Socket, pid: number, id: number): Promise<Reply> {
  return new Promise((resolve, reject) => {
    let pending: Buffer = Buffer.alloc(0);
    replies.on('data', (chunk: Buffer) => {
      const decoded = decodeReplies(Buffer.concat([pending, chunk]));
      pending = decoded.rest;
      const own = decoded.replies.find((reply) => reply.id === id);
      if (own !== undefined) resolve(own);
    });
    replies.once('error', (cause) => reject(unreachable(pid, cause)));
    replies.once('end', () => reject(unreachable(pid, undefined)));
  });
}

function unreachable(pid: number, cause: unknown): PodferryError {
  return new PodferryError(
    'PLACEHOLDER_UNREACHABLE',
    `the channel of the placeholder, pid ${pid}, cannot be used`,
    { pid },
    { cause },
  );
}
