import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { PodferryError } from '../../proto/errors.ts';
import type { Log } from '../../proto/logging.ts';
import type { Store, Welcome } from '../../proto/gen/agent/v1/agent.ts';
import { systemClock } from '../../operator/clock.ts';
import { createAgents, type Agents } from '../../operator/hub/agents.ts';
import { createHub } from '../../operator/hub/hub.ts';
import { createTlsServer, readKeyPair } from '../../operator/hub/tls.ts';
import type { Sealing } from '../../agent/store/sealing.ts';
import { makeCertificate } from '../../test/fakes/certificate.ts';

const serverName = 'podferry-chaos';

/** The operator's hub; a token is the uid of its pod. */
export interface ChaosHub {
  readonly agents: Agents;
  readonly forAgents: { readonly address: string; readonly ca: string; readonly serverName: string };
  close(): void;
}

export interface HubOptions {
  readonly dir: string;
  readonly store: Store;
  readonly keyPrefix: string;
  readonly sealing: Sealing;
  readonly log: Log;
  readonly retention: Welcome['retention'];
  generationOf(podUid: string): number | undefined;
}

export async function startHub(options: HubOptions): Promise<ChaosHub> {
  const { store, keyPrefix, sealing, log, retention } = options;
  const agents = createAgents(systemClock);
  const hub = createHub({
    agents,
    log,
    isLeading: () => true,
    authenticate: async (authorization) => {
      const uid = authorization?.replace('Bearer ', '') ?? '';
      if (options.generationOf(uid) === undefined) throw new PodferryError('UNAUTHENTICATED', `no pod ${uid}`);
      return { uid, namespace: 'default', name: uid };
    },
    welcomeFor: (uid) => {
      const generation = options.generationOf(uid);
      if (generation === undefined) return undefined;
      const { instance, id: keyId } = sealing;
      return { store, keyPrefix, generation, instance, keyId, dataKey: Buffer.from(sealing.key), retention };
    },
  });
  const { dir, pem } = makeCertificate(serverName, options.dir);
  const server = createTlsServer(await readKeyPair(dir), (socket) => hub.accept(socket));
  server.on('tlsClientError', () => undefined); // of an agent that was killed while it connected
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    agents,
    forAgents: { address, ca: pem.toString(), serverName },
    close() {
      hub.close();
      server.close();
    },
  };
}
