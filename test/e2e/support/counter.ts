import { httpJson, type Pod } from './workload.ts';

/** What the counter program says of itself at /status. */
export interface CounterStatus {
  readonly count: number;
  readonly gapsMs: readonly number[];
  readonly pid: number;
  readonly threads: readonly number[];
  readonly liveThreads: number;
  readonly child: { readonly pid: number; readonly asked: number; readonly intact: boolean };
  readonly digest: string;
}

export async function counterStatus(namespace: string, pod: Pod): Promise<CounterStatus> {
  return httpJson(namespace, pod.metadata.name, '/status');
}

/** Hashes the counter's memory in its own process. */
export async function memoryIsIntact(namespace: string, pod: Pod): Promise<boolean> {
  return (await httpJson<{ intact: boolean }>(namespace, pod.metadata.name, '/check')).intact;
}

/** The numbers in the file that the counter keeps open in its container's writable layer. */
export async function numbersInFile(namespace: string, pod: Pod): Promise<readonly number[]> {
  return (await httpJson<{ numbers: readonly number[] }>(namespace, pod.metadata.name, '/file')).numbers;
}

export const counterCommand = ['python3', '-u', '/counter.py'];

export function counterEnv(memoryMib: number): readonly { readonly name: string; readonly value: string }[] {
  return [{ name: 'MEMORY_MIB', value: String(memoryMib) }];
}
