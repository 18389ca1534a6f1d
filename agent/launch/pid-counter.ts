import { readFileSync, writeFileSync } from 'node:fs';
import { PodferryError } from '../../proto/errors.ts';

/** Counter of the pid namespace of whoever opens it. @see pid_namespaces(7) */
const counterFile = '/proc/sys/kernel/ns_last_pid';

/**
 * Makes the pids that are handed out from now on higher than `lastPid`. Never lowers the counter: pids below it may be
 * in use by the application. To be called before the application starts, and again after a restore, before it continues:
 * otherwise its new children get low pids, which collide with the infrastructure of the next pod.
 * @throws PodferryError INTERNAL when the counter is not writable: the agent is not privileged
 */
export async function raisePidCounter(lastPid: number, file = counterFile): Promise<void> {
  try {
    if (Number(readFileSync(file, 'utf8')) >= lastPid) return;
    writeFileSync(file, String(lastPid));
  } catch (cause) {
    throw new PodferryError('INTERNAL', `cannot raise ${file} to ${lastPid}`, { file, lastPid }, { cause });
  }
}
