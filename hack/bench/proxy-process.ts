import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const child = fileURLToPath(new URL('proxy-child.ts', import.meta.url));

export interface ProxyProcess {
  readonly endpoint: string;
  close(): Promise<void>;
}

/** A fault proxy (test/fakes/fault-proxy.ts) that only delays, in a process of its own: it must not take the agent's time. */
export async function startProxyProcess(upstream: string, latencyMs: number): Promise<ProxyProcess> {
  const started: ChildProcess = fork(child, [upstream, String(latencyMs)], { execArgv: ['--import', 'tsx'] });
  const ended = once(started, 'exit');
  const [endpoint] = (await Promise.race([
    once(started, 'message'),
    ended.then(() => Promise.reject(new Error('the proxy ended at once'))),
  ])) as [string];
  return {
    endpoint,
    async close() {
      started.kill();
      await ended;
    },
  };
}
