import { randomUUID } from 'node:crypto';
import https from 'node:https';
import { json } from 'node:stream/consumers';
import { optIn } from '../../webhook/eligibility.ts';
import { inject } from '../../webhook/inject.ts';
import { review } from '../../webhook/admission.ts';
import { isDeployment, isPodTemplate } from '../../webhook/pod-template.ts';
import type { Settings } from '../../webhook/settings.ts';
import { chartDeployment, optedIn } from '../admission/deployment.ts';
import type { Result } from './report.ts';
import type { Bench } from './setting.ts';
import { summarize } from './statistics.ts';
import { latency } from './webhook-latency.ts';
import { startWebhook, type ServerProcess } from './webhook-servers.ts';

const settings: Settings = {
  agentImage: 'registry.example.com/podferry/agent:1',
  operatorAddress: 'podferry-operator.migration-system.svc:8443',
  serverName: 'podferry-operator.migration-system.svc',
  nativeSidecars: false,
  // As long as a real one.
  caPem: `-----BEGIN CERTIFICATE-----\n${'A'.repeat(1100)}\n-----END CERTIFICATE-----\n`,
  guaranteedResources: { cpu: '500m', memory: '512Mi' },
};

const reviewsInAll = 100_000;
const connections = 4;

/** What admission costs: in process, through the API server beside a webhook that does nothing, and in memory. */
export async function webhook(bench: Bench): Promise<readonly Result[]> {
  const { wanted, say, undo } = bench;
  const inProcess = [...ratesOf('inject', injectOnce()), ...ratesOf('review', reviewOnce())];
  const ours = await startWebhook();
  undo.add(ours.close);
  try {
    return [...inProcess, ...(await latency(bench, ours, wanted.full ? 120 : 30)), ...(await memory(ours, say))];
  } finally {
    undo.delete(ours.close);
    await ours.close();
  }
}

function reviewOf(object: object): Record<string, unknown> {
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: randomUUID(),
      kind: { group: 'apps', version: 'v1', kind: 'Deployment' },
      resource: { group: 'apps', version: 'v1', resource: 'deployments' },
      operation: 'CREATE',
      namespace: 'shop',
      name: 'orders',
      userInfo: { username: 'admin', groups: ['system:masters', 'system:authenticated'] },
      object,
      oldObject: null,
      dryRun: false,
    },
  };
}

/** The pure function alone, on what was parsed before. */
function injectOnce(): () => unknown {
  const deployment: unknown = chartDeployment('shop', 'orders', optedIn);
  if (!isDeployment(deployment)) throw new Error('no Deployment');
  const { template } = deployment.spec;
  if (!isPodTemplate(template)) throw new Error('no template');
  const { options } = optIn(deployment, template);
  return () => inject(template, options, settings);
}

/** All that is done to the bytes of a request: from JSON to JSON. */
function reviewOnce(): () => unknown {
  const body = JSON.stringify(reviewOf(chartDeployment('shop', 'orders', optedIn)));
  return () => JSON.stringify(review(JSON.parse(body), settings).review);
}

/** Rounds of half a second on one core. */
function ratesOf(name: string, work: () => unknown): readonly Result[] {
  const round = (): number => {
    const endMs = performance.now() + 500;
    let count = 0;
    const beganMs = performance.now();
    for (; performance.now() < endMs; count += 1) work();
    return (count * 1000) / (performance.now() - beganMs);
  };
  round();
  const rates = Array.from({ length: 5 }, round);
  return [{ case: `in process, ${name}`, metric: 'perSecond', ...summarize(rates) }];
}

/** Reviews sent to the process without an API server between, as fast as it answers them. */
async function memory(server: ServerProcess, say: Bench['say']): Promise<readonly Result[]> {
  say(`webhook: ${reviewsInAll} reviews`);
  const agent = new https.Agent({ keepAlive: true, maxSockets: connections });
  const body = Buffer.from(JSON.stringify(reviewOf(chartDeployment('shop', 'orders', optedIn))));
  const results: Result[] = [];
  let done = 0;
  try {
    for (const upTo of [0, reviewsInAll / 10, reviewsInAll / 2, reviewsInAll]) {
      const beganMs = performance.now();
      const from = done;
      await Promise.all(
        Array.from({ length: connections }, async () => {
          while (done < upTo) {
            done += 1;
            await ask(server, agent, body);
          }
        }),
      );
      const rss = await server.rssMib();
      results.push({ case: `after ${upTo} reviews`, metric: 'rssMiB', n: 1, p50: rss, p99: rss, max: rss });
      if (upTo === reviewsInAll) {
        const rate = ((done - from) * 1000) / (performance.now() - beganMs);
        const figure = { n: 1, p50: rate, p99: rate, max: rate };
        results.push({ case: `over TLS, ${connections} connections`, metric: 'perSecond', ...figure });
      }
    }
  } finally {
    agent.destroy();
  }
  return results;
}

async function ask({ port, ca }: ServerProcess, agent: https.Agent, body: Buffer): Promise<void> {
  const answer = await new Promise<unknown>((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': body.length };
    const to = { host: '127.0.0.1', port, servername: 'localhost', ca, agent, method: 'POST', path: '/mutate' };
    const request = https.request({ ...to, headers }, (response) => {
      json(response).then(resolve, reject);
    });
    request.on('error', reject);
    request.end(body);
  });
  if ((answer as { response?: { patch?: string } }).response?.patch === undefined) throw new Error('not injected');
}
