import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { issueAuthority, issueLeaf } from '../../certs/issue.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** A server in a process of its own, on a port of 127.0.0.1. */
export interface ServerProcess {
  readonly port: number;
  /** PEM; its certificate is for 127.0.0.1. */
  readonly ca: string;
  /** MiB that the process has in memory. */
  rssMib(): Promise<number>;
  readonly close: () => Promise<void>;
}

/** The webhook as it is shipped. */
export async function startWebhook(): Promise<ServerProcess> {
  return start([...(await shippedFlags()), join(root, 'dist/webhook.mjs')]);
}

/** The webhook that does nothing but allow (noop-webhook.ts). */
export async function startNoop(): Promise<ServerProcess> {
  return start([...(await shippedFlags()), join(root, 'dist/bench/noop-webhook.mjs')]);
}

/** What the Deployment's command has between `node` and the program. */
async function shippedFlags(): Promise<readonly string[]> {
  const documents = parseAllDocuments(await readFile(join(root, 'manifests/base/webhook.yaml'), 'utf8'));
  const deployment = documents.find((one) => one.get('kind') === 'Deployment');
  const command: unknown = deployment?.toJS().spec.template.spec.containers[0].command;
  if (!Array.isArray(command)) throw new Error('the Deployment of the webhook has no command');
  return command.slice(1, -1).map(String);
}

async function start(args: readonly string[]): Promise<ServerProcess> {
  const dir = await mkdtemp(join(tmpdir(), 'podferry-bench-webhook-'));
  const authority = await issueAuthority(Date.now());
  const leaf = await issueLeaf(['localhost'], authority, Date.now());
  const files = { 'tls.crt': leaf.cert, 'tls.key': leaf.key, 'ca.crt': authority.cert };
  await Promise.all(Object.entries(files).map(([name, pem]) => writeFile(join(dir, name), pem)));
  const child = spawn(process.execPath, args, {
    env: { PODFERRY_TLS_DIR: dir, PODFERRY_PORT: '0', PODFERRY_AGENT_IMAGE: 'registry.example.com/podferry/agent:1' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'exit');
  const port = await Promise.race([
    portOf(child),
    ended.then(() => Promise.reject(new Error(`${args.join(' ')} ended at once`))),
  ]);
  return {
    port,
    ca: authority.cert,
    async rssMib() {
      const kib = /^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${child.pid}/status`, 'latin1'))?.[1];
      return Number(kib ?? 0) / 1024;
    },
    close: async () => {
      // a graceful end would take the time in which endpoints are taken away
      child.kill('SIGKILL');
      await ended;
      await rm(dir, { recursive: true });
    },
  };
}

/** Of the line in its log that says so; the rest of the log is read and dropped. */
async function portOf(child: ChildProcess): Promise<number> {
  if (child.stderr === null) throw new Error('the log is not read');
  const lines = createInterface(child.stderr);
  return new Promise((resolve) => {
    lines.on('line', (line) => {
      const port = /"listening".*?"port":(\d+)|"port":(\d+).*?"listening"/.exec(line)?.slice(1).find(Boolean);
      if (port !== undefined) {
        resolve(Number(port));
        lines.close();
        child.stderr?.resume();
      }
    });
  });
}
