import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from '../../operator/kube/client.ts';
import type { Event } from './events.ts';
import { type Asked, load } from './load.ts';
import type { Happened, Run } from './report.ts';

/** Calm before the first event and after the last one. */
const calmMs = 5000;

/** The API server waits 2 s for the webhook; what comes near is told. */
const slowMs = 1000;

/**
 * Asks for Deployments at a fixed rate while the events happen one after the other, spread over the time; the load goes on for the whole
 * time, and longer when the events take longer. An event that does not come to its end is told, and the next one begins.
 */
export async function runCampaign(o: {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly perSecond: number;
  readonly seconds: number;
  readonly events: readonly Event[];
  readonly say: (text: string) => void;
}): Promise<Run> {
  const { client, namespace, perSecond, seconds, events, say } = o;
  const sinceMs = performance.now();
  const nowMs = (): number => performance.now() - sinceMs;
  const asked: Asked[] = [];
  const happened: Happened[] = [];
  let isOver = false;

  const loading = load({
    ...{ client, namespace, perSecond, sinceMs, goesOn: () => !isOver },
    onAsked(one) {
      asked.push(one);
      if (one.outcome !== 'injected' || one.tookMs > slowMs)
        say(`${(one.atMs / 1000).toFixed(1)} s: ${one.outcome} in ${one.tookMs.toFixed(0)} ms ${one.why ?? ''}`);
    },
  });
  try {
    for (const [index, { what, happen }] of events.entries()) {
      await delay(Math.max(calmMs, (seconds * 1000 * (index + 0.5)) / events.length - nowMs()));
      const fromMs = nowMs();
      say(`${(fromMs / 1000).toFixed(1)} s: ${what}`);
      const failure = await happen(client).then(
        () => undefined,
        (error: unknown) => String(error),
      );
      happened.push({ what, fromMs, toMs: nowMs(), ...(failure === undefined ? {} : { failure }) });
      say(`${(nowMs() / 1000).toFixed(1)} s: ${failure ?? 'done'}`);
    }
    await delay(Math.max(calmMs, seconds * 1000 - nowMs()));
  } finally {
    isOver = true;
    await loading;
  }
  return { asked, happened };
}
