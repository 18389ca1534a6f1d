import { randomUUID } from 'node:crypto';
import { chartDeployment, optedIn } from '../admission/deployment.ts';
import { createAndRemove, dryRunCreate, isInjected } from '../admission/asking.ts';
import { openLoop } from '../admission/open-loop.ts';
import type { KubeClient } from '../../operator/kube/client.ts';

/** One Deployment that was asked for. */
export interface Asked {
  /** Milliseconds since the campaign began. */
  readonly atMs: number;
  readonly tookMs: number;
  readonly outcome: 'injected' | 'not injected' | 'refused';
  /** It was stored, not only asked for. */
  readonly isReal: boolean;
  readonly why?: string;
}

/** One of this many is a real create. */
const realEvery = 250;

/** Asks for Deployments at the rate for as long as `goesOn`, and looks at each answer. */
export async function load(o: {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly perSecond: number;
  readonly sinceMs: number;
  readonly goesOn: () => boolean;
  readonly onAsked: (asked: Asked) => void;
}): Promise<void> {
  const { client, namespace, perSecond, sinceMs, goesOn, onAsked } = o;
  await openLoop(perSecond, goesOn, async (n) => {
    const isReal = n % realEvery === 0;
    const name = `orders-${randomUUID().slice(0, 8)}`;
    const body = chartDeployment(namespace, name, optedIn);
    const beganMs = performance.now();
    const asked = (outcome: Asked['outcome'], why?: string): void =>
      onAsked({
        atMs: beganMs - sinceMs,
        tookMs: performance.now() - beganMs,
        outcome,
        isReal,
        ...(why === undefined ? {} : { why }),
      });
    try {
      const answer = isReal
        ? await createAndRemove(client, namespace, name, body)
        : await dryRunCreate(client, namespace, body);
      asked(isInjected(answer) ? 'injected' : 'not injected');
    } catch (error) {
      // whatever it was, this Deployment was not admitted
      asked('refused', error instanceof Error ? error.message : String(error));
    }
  });
}
