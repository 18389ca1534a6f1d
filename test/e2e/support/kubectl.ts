import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

export interface KubectlOptions {
  readonly input?: string;
  readonly timeoutMs?: number;
}

/** A failed kubectl: its exit code and what it said. */
export class KubectlError extends Error {
  override readonly name = 'KubectlError';
  constructor(
    args: readonly string[],
    readonly exitCode: number | null,
    readonly stderr: string,
  ) {
    super(`kubectl ${args.join(' ')}: exit ${exitCode}: ${stderr.trim()}`);
  }
}

/** Runs kubectl as a user would; resolves with its stdout. @throws KubectlError */
export async function kubectl(args: readonly string[], options: KubectlOptions = {}): Promise<string> {
  const child = spawn('kubectl', args, { stdio: ['pipe', 'pipe', 'pipe'], timeout: options.timeoutMs ?? 60_000 });
  child.stdin.on('error', () => child.stdin.destroy()); // kubectl may end without reading it; its exit code tells
  child.stdin.end(options.input ?? '');
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ]);
  if (code !== 0) throw new KubectlError(args, code, stderr);
  return stdout;
}

/** The object (or list) that `kubectl ARGS -o json` prints. */
export async function getJson<T>(args: readonly string[]): Promise<T> {
  return JSON.parse(await kubectl([...args, '-o', 'json'])) as T;
}

export async function apply(...objects: readonly object[]): Promise<string> {
  const list = { apiVersion: 'v1', kind: 'List', items: objects };
  return kubectl(['apply', '-f', '-'], { input: JSON.stringify(list) });
}
