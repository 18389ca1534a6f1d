import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type tls from 'node:tls';
import { createLog } from '../../../proto/logging.ts';
import type { AgentState, AppPhase, Order } from '../../../proto/gen/agent/v1/agent.ts';
import { systemClock } from '../../../operator/clock.ts';
import { createTlsServer, readKeyPair } from '../../../operator/hub/tls.ts';
import type { KubeClient } from '../../../operator/kube/client.ts';
import type { Pod } from '../../../operator/kube/objects.ts';
import { createKeys } from '../../../operator/keys/keys.ts';
import { createOperator, type Operator, type OperatorOptions } from '../../../operator/operator.ts';
import { makeCertificate } from '../../fakes/certificate.ts';
import { SimulatedAgent } from '../../fakes/simulated-agent.ts';
import { Cluster, until } from './cluster.ts';

const serverName = 'podferry-operator.migration-system.svc';
const store = { endpoint: '', region: 'r', bucket: 'b', accessKeyId: 'a', secretAccessKey: 's', forcePathStyle: true };

/** An operator that leads, its hub, and the rest of a cluster around a real API server. */
export class OperatorRig {
  private readonly agents: SimulatedAgent[] = [];

  private constructor(
    readonly cluster: Cluster,
    private readonly operator: Operator,
    private readonly hub: tls.Server,
    private readonly ca: Buffer,
  ) {}

  static async start(client: KubeClient, options: Partial<OperatorOptions> = {}): Promise<OperatorRig> {
    const cluster = new Cluster(client);
    await cluster.start();
    const certificate = makeCertificate(serverName);
    const operator = createOperator({
      client,
      clock: systemClock,
      log: createLog('operator', process.env['PODFERRY_TEST_LOG'] ?? 'error'),
      store,
      prefix: 'p',
      retention: { count: 2, ttlSeconds: 3600, depth: 16 },
      keys: createKeys(Buffer.alloc(32, 1)),
      ...options,
    });
    const hub = createTlsServer(await readKeyPair(certificate.dir), (socket) => operator.hub.accept(socket));
    hub.listen(0, '127.0.0.1');
    await once(hub, 'listening');
    operator.start();
    await until('caches are filled', async () => operator.problems().length === 0);
    operator.lead();
    return new OperatorRig(cluster, operator, hub, certificate.pem);
  }

  async startAgent(
    { metadata: { name, uid } }: Pod,
    phase: AppPhase,
    more: {
      readonly obey?: (order: Order, state: AgentState) => Partial<AgentState>;
      readonly tookMs?: (order: Order) => number;
    } = {},
  ): Promise<SimulatedAgent> {
    const agent = new SimulatedAgent({
      address: `127.0.0.1:${(this.hub.address() as AddressInfo).port}`,
      ca: this.ca,
      serverName,
      token: async () => this.cluster.token({ name, uid }),
      phase,
      ...more,
    });
    this.agents.push(agent);
    await agent.connect();
    return agent;
  }

  async stop(): Promise<void> {
    for (const agent of this.agents) agent.stop();
    await this.operator.stop();
    await this.cluster.stop();
    this.hub.close();
  }
}
