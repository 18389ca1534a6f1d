import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Store as Settings } from '../../proto/gen/agent/v1/agent.ts';

/** The way to the store, which a campaign may break. */
export interface Gateway {
  readonly settings: Settings;
  /** kill -9 */
  kill(): Promise<void>;
  /** Resolves when it answers. */
  start(): Promise<void>;
  close(): Promise<void>;
}

const answerMs = 60_000;
const pollMs = 20;

/** A store that nobody may break. */
export function steadyGateway(settings: Settings, close: () => void = () => undefined): Gateway {
  const never = async (): Promise<void> => {
    throw new Error('this store is not ours to kill');
  };
  return { settings, kill: never, start: never, close: async () => close() };
}

/**
 * A gateway process of our own (a radosgw in front of the test bed's Ceph), so that nobody else's is killed.
 * @param argv runs it in the foreground
 */
export async function ownGateway(argv: readonly string[], settings: Settings): Promise<Gateway> {
  const [file = '', ...args] = argv;
  let child: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  const start = async (): Promise<void> => {
    const started = spawn(file, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    child = started;
    const endsAt = performance.now() + answerMs;
    while (!(await answers(settings.endpoint))) {
      if (started.exitCode !== null) throw new Error(`the gateway ended with ${started.exitCode}: ${argv.join(' ')}`);
      if (performance.now() > endsAt) throw new Error(`the gateway did not answer within ${answerMs} ms`);
      await delay(pollMs);
    }
  };
  const gateway = { settings, kill, start, close: kill };
  try {
    await start();
  } catch (error) {
    await kill();
    throw error;
  }
  return gateway;
}

async function answers(endpoint: string): Promise<boolean> {
  try {
    await fetch(endpoint, { signal: AbortSignal.timeout(1_000) });
    return true;
  } catch {
    return false; // not yet
  }
}
