import { machine, release } from 'node:os';
import { connect } from './hub/connection.ts';
import { hello } from './hub/hello.ts';
import { parseConfig } from './config.ts';
import { criuVersion, warmCriu } from './criu/version.ts';
import { createFerry } from './ferry.ts';
import { journalFile } from './journal.ts';
import { criuInAgent } from './orders/criu-commands.ts';
import { createLog, errorFields } from '../proto/logging.ts';
import type { AgentState } from '../proto/gen/agent/v1/agent.ts';

const agentVersion = '0.1.0';
const versionDeadlineMs = 10_000;

async function main(): Promise<void> {
  const config = parseConfig(process.env);
  const log = createLog('agent', config.logLevel).child({ pod: config.podName, namespace: config.podNamespace });
  const agentRoot = `/proc/${process.pid}/root`;

  const stopping = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stopping.abort());

  const criu = await criuVersion(criuInAgent(agentRoot, config.criuPreload), versionDeadlineMs).catch(
    (error: unknown) => {
      log.error('criu is not usable: the application runs, but cannot be moved', errorFields(error));
      return '';
    },
  );
  warmCriu(criuInAgent(agentRoot, config.criuPreload), versionDeadlineMs).catch((error: unknown) =>
    log.debug('criu check ended badly', errorFields(error)),
  );
  const greeting = await hello(agentVersion, criu);

  let report: (state: AgentState) => void = () => undefined;
  const ferry = await createFerry({
    config,
    journal: journalFile(config.workDir),
    facts: { criu, kernel: release(), machine: machine(), cpuFlags: greeting.cpuFlags },
    agentRoot,
    log,
    report: (state) => report(state),
  });
  const watching = ferry.watch(stopping.signal);
  const connection = connect(
    { address: config.operator, ca: config.ca, serverName: config.serverName, tokenFile: config.tokenFile },
    greeting,
    ferry.state(),
    { onWelcome: (welcome) => ferry.welcome(welcome), onOrder: (order) => ferry.order(order) },
    log,
  );
  report = (state) => connection.report(state);
  connection.report(ferry.state());
  await watching;
  await connection.close();
}

try {
  await main();
} catch (error) {
  createLog('agent').error('the agent cannot go on', errorFields(error));
  process.exitCode = 1;
}
// Idle connections to the store and the supervisor of a restored application must not hold up the end of the pod.
process.exit();
