import { existsSync } from 'node:fs';

/** What the kernel shows only with what CRIU needs. @see CRIU's Linux_kernel requirements */
const kernelOptions: readonly { readonly option: string; readonly shows: string }[] = [
  { option: 'CONFIG_CHECKPOINT_RESTORE', shows: '/proc/sys/kernel/ns_last_pid' },
  { option: 'CONFIG_CHECKPOINT_RESTORE', shows: `/proc/${process.pid}/map_files` },
  { option: 'CONFIG_PROC_CHILDREN', shows: `/proc/${process.pid}/task/${process.pid}/children` },
];

/** Names of the options without which there is no checkpoint, and no restore. */
export function kernelLacks(): readonly string[] {
  return [...new Set(kernelOptions.filter(({ shows }) => !existsSync(shows)).map(({ option }) => option))];
}
