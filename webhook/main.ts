import { setTimeout as delay } from 'node:timers/promises';
import { createLog, errorFields } from '../proto/logging.ts';
import { services, systemNamespace } from '../proto/names.ts';
import { readCertificate, watchCertificate } from './certificate.ts';
import { parseConfig } from './config.ts';
import { createReadCredentials, noCredentials } from './image-config/credentials.ts';
import { createImageFinder } from './image-config/find-image.ts';
import { readRegistries } from './image-config/registries.ts';
import { createKubeApi, inCluster } from './kube/api.ts';
import { detectNativeSidecars } from './kube/server-version.ts';
import { createOwners } from './owners/owners.ts';
import { createWebhookServer } from './server.ts';
import type { Settings } from './settings.ts';

/** How often the mounted certificate is looked at; the kubelet itself takes up to a minute to update it. */
const certificateEveryMs = 5000;

/** Endpoints of an unready pod leave the API server's sight within a readiness period or two. */
const lameDuckMs = 8000;

const closeDeadlineMs = 5000;

const serviceAccountDirectory = '/var/run/secrets/kubernetes.io/serviceaccount';

async function main(): Promise<void> {
  const config = parseConfig(process.env);
  const log = createLog('webhook', config.logLevel);
  const stopping = new AbortController();

  const certificate = await readCertificate(config.tlsDir);
  const api =
    config.apiServer === undefined ? undefined : createKubeApi(inCluster(config.apiServer, serviceAccountDirectory));
  const images = createImageFinder({
    registries: await readRegistries(config.registriesFile),
    readCredentials: api === undefined ? noCredentials : createReadCredentials(api, Date.now),
    now: Date.now,
    log,
  });
  const owners = api && createOwners({ api, log });
  const nativeSidecars =
    config.nativeSidecars === 'auto'
      ? api !== undefined && (await detectNativeSidecars({ api, log }))
      : config.nativeSidecars === 'true';
  let settings: Settings = {
    agentImage: config.agentImage,
    operatorAddress: config.operatorAddress,
    serverName: `${services.operator}.${systemNamespace}.svc`,
    caPem: certificate.ca,
    nativeSidecars,
    guaranteedResources: config.guaranteedResources,
  };
  const server = createWebhookServer(certificate, () => settings, log, undefined, {
    images,
    annotationsOfOwner: owners && ((uid) => owners.annotationsOf(uid)),
  });
  const following = owners?.run(stopping.signal);
  const watching = watchCertificate(
    config.tlsDir,
    certificate,
    { everyMs: certificateEveryMs, signal: stopping.signal, log },
    (changed) => {
      server.useCertificate(changed);
      settings = { ...settings, caPem: changed.ca };
    },
  );

  const stopped = new Promise<string>((resolve, reject) => {
    server.https.on('error', reject);
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => resolve(name));
  });
  server.https.listen(config.port, () => log.info('listening', { port: server.port, nativeSidecars }));

  const signal = await stopped;
  log.info('leaving', { signal });
  server.leave();
  await delay(lameDuckMs);
  stopping.abort();
  images.stop();
  await Promise.all([server.close(closeDeadlineMs), watching, following]);
}

try {
  await main();
  process.exit(0);
} catch (error) {
  createLog('webhook').error('webhook ended', errorFields(error));
  process.exit(1);
}
