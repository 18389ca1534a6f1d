// The process of proxy-process.ts: UPSTREAM LATENCY_MS. It sends its address to its parent, and ends with it.
import { startFaultProxy } from '../../test/fakes/fault-proxy.ts';

const [upstream = '', latencyMs] = process.argv.slice(2);
const proxy = await startFaultProxy({ upstream, latencyMs: Number(latencyMs) });
process.on('disconnect', () => void proxy.close());
process.send?.(proxy.endpoint);
