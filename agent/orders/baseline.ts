import { join } from 'node:path';

/** Where the listing of the fresh container's files is kept over a restart of the agent. */
export function baselineFile(workDir: string): string {
  return join(workDir, 'baseline');
}
