import { quantityInNanos } from '../../proto/quantity.ts';
import type { Container, Pod, PodSpec } from '../kube/objects.ts';

/** Resource -> how much of it, in billionths (proto/quantity.ts). */
export type Amounts = ReadonlyMap<string, bigint>;

function readAmounts(quantities: unknown): Amounts {
  if (typeof quantities !== 'object' || quantities === null) return new Map();
  return new Map(Object.entries(quantities).map(([name, value]) => [name, quantityInNanos(value) ?? 0n]));
}

/** What a container asks for; what it may use at most stands in for what it does not ask for. */
function requestsOf({ resources }: Container): Amounts {
  const { requests, limits } = (resources ?? {}) as { readonly requests?: unknown; readonly limits?: unknown };
  return new Map([...readAmounts(limits), ...readAmounts(requests)]);
}

function combine(a: Amounts, b: Amounts, how: (a: bigint, b: bigint) => bigint): Amounts {
  const names = new Set([...a.keys(), ...b.keys()]);
  return new Map(Array.from(names, (name) => [name, how(a.get(name) ?? 0n, b.get(name) ?? 0n)]));
}

const sum = (a: bigint, b: bigint): bigint => a + b;
const most = (a: bigint, b: bigint): bigint => (a > b ? a : b);

/**
 * What the scheduler reserves for a pod: containers run together, sidecars beside them from their start on, each other init
 * container beside the sidecars that were started before it.
 * @see kubernetes/component-helpers resource.PodRequests
 */
export function podRequests(spec: PodSpec): Amounts {
  let sidecars: Amounts = new Map();
  let starting: Amounts = new Map();
  for (const container of spec.initContainers ?? []) {
    const own = requestsOf(container);
    const together = combine(sidecars, own, sum);
    if (container['restartPolicy'] === 'Always') sidecars = together;
    starting = combine(starting, together, most);
  }
  const running = spec.containers.map(requestsOf).reduce((all, one) => combine(all, one, sum), sidecars);
  return combine(combine(running, starting, most), readAmounts(spec['overhead']), sum);
}

/** What a node gives to pods and the pods on it have not reserved: with a negative amount where they have reserved more. */
export function freeOf(allocatable: unknown, pods: readonly Pod[]): Amounts {
  const given = readAmounts(allocatable);
  const nothing: Amounts = new Map();
  const taken = pods.map(({ spec }) => podRequests(spec)).reduce((all, one) => combine(all, one, sum), nothing);
  return new Map(Array.from(given, ([name, amount]) => [name, amount - (taken.get(name) ?? 0n)]));
}

/** An amount for people: cores, bytes or pieces. */
export function amountText(name: string, nanos: bigint): string {
  const amount = Number(nanos) / 1e9;
  return /^(?:memory|ephemeral-storage|hugepages-)/.test(name) ? `${Math.floor(amount / 2 ** 20)}Mi` : String(amount);
}
