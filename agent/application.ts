import { PodferryError } from '../proto/errors.ts';
import { errorFields } from '../proto/logging.ts';
import { listFiles, saveListing } from './files/listing.ts';
import type { FerryDeps } from './ferry.ts';
import { cgroupProcsFiles } from './launch/cgroup.ts';
import { ping, startApp } from './launch/channel.ts';
import { expandCommand } from './launch/command.ts';
import { readEnvironment } from './launch/environment.ts';
import type { Placeholder } from './launch/placeholder.ts';
import { markReady } from './launch/ready-mark.ts';
import { baselineFile } from './orders/baseline.ts';

const channelDeadlineMs = 10_000;
const listingDeadlineMs = 60_000;

/** Remembers what the container's files are before anything of the application (or of its checkpoint) touches them. */
async function recordBaseline(placeholder: Placeholder, { agentRoot, config }: FerryDeps): Promise<void> {
  const listing = await listFiles({ placeholderPid: placeholder.pid, agentRoot }, config.dataDirs, listingDeadlineMs);
  await saveListing(baselineFile(config.workDir), listing);
}

/** A target's container is up: everything but the checkpoint itself is made ready. */
export async function prepareTarget(placeholder: Placeholder, deps: FerryDeps): Promise<void> {
  try {
    // The hierarchies stay mounted: under cgroup v1 each takes a program of its own, which the restore must not wait for.
    await cgroupProcsFiles(placeholder.pid);
  } catch (error) {
    deps.log.warn('the cgroups of the container are looked for again at the restore', errorFields(error));
  }
  await recordBaseline(placeholder, deps);
}

/**
 * Starts the original command in its container, or finds it running there (the agent was restarted); then tells the startup probe.
 * A baseline that cannot be taken does not keep the application from starting: moves are then refused.
 * @returns the application's pid
 * @throws PodferryError APP_START_FAILED, PLACEHOLDER_UNREACHABLE, DEADLINE_EXCEEDED
 */
export async function startApplication(placeholder: Placeholder, deps: FerryDeps): Promise<number> {
  const { original } = deps.config;
  const running = await ping(placeholder, channelDeadlineMs);
  if (running.appPid !== 0) {
    await markReady(original.container, placeholder);
    return running.appPid;
  }
  const argv = expandCommand(original, await readEnvironment(placeholder.pid));
  if (argv.length === 0) throw new PodferryError('APP_START_FAILED', `container ${original.container} has no command`);
  try {
    await recordBaseline(placeholder, deps);
  } catch (error) {
    deps.log.error('no listing of the fresh container: it cannot be moved until it restarts', { error: String(error) });
  }
  const pid = await startApp(placeholder, argv, channelDeadlineMs);
  await markReady(original.container, placeholder);
  return pid;
}
