import { kubectl, KubectlError } from './kubectl.ts';
import { until } from './until.ts';

/** Images of the test programs, by the references that hack/test.sh (or hack/demo.sh) has built and pushed. */
export interface Images {
  readonly counter: string;
  readonly static: string;
  readonly redis: string;
  readonly programs: string;
}

function needed(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '')
    throw new Error(`${name} is not set: run the end-to-end tests by hack/test.sh e2e`);
  return value;
}

export function images(): Images {
  return {
    counter: needed('PODFERRY_IMAGE_COUNTER'),
    static: needed('PODFERRY_IMAGE_STATIC'),
    redis: needed('PODFERRY_IMAGE_REDIS'),
    programs: needed('PODFERRY_IMAGE_PROGRAMS'),
  };
}

/** Path of testbed.sh when the cluster is our own test bed; undefined on a foreign cluster, where nodes cannot be hurt. */
export function testbedCommand(): string | undefined {
  const command = process.env['PODFERRY_TESTBED'];
  return command === '' ? undefined : command;
}

/** One that still ends, of a run before this, is waited for. */
export async function createNamespace(name: string): Promise<void> {
  await until(`namespace ${name} can be used`, async () => {
    try {
      await kubectl(['create', 'namespace', name]);
      return true;
    } catch (error) {
      if (!(error instanceof KubectlError && error.stderr.includes('AlreadyExists'))) throw error;
    }
    const phase = await kubectl(['get', 'namespace', name, '--ignore-not-found', '-o', 'jsonpath={.status.phase}']);
    return phase === 'Active';
  });
}

/** Ends the workloads first: a kubelet cannot finish with a pod whose namespace no longer gives it tokens. */
export async function deleteNamespace(name: string): Promise<void> {
  await kubectl(['delete', 'deployment', '-n', name, '--all', '--timeout=60s'], { timeoutMs: 70_000 });
  await kubectl(['delete', 'namespace', name, '--ignore-not-found', '--wait=false']);
}

/** Names of the schedulable nodes. */
export async function nodeNames(): Promise<readonly string[]> {
  return (await kubectl(['get', 'nodes', '-o', 'jsonpath={.items[*].metadata.name}'])).split(' ');
}

/** The other node of a two-node cluster. */
export async function otherNode(node: string): Promise<string> {
  const other = (await nodeNames()).find((name) => name !== node);
  if (other === undefined) throw new Error('these tests need two nodes');
  return other;
}
