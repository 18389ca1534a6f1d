import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { OrderKind, OrderStatus } from '../proto/gen/agent/v1/agent.ts';
import { toPodferryError } from '../proto/errors.ts';

const Order = z.object({
  kind: z.enum(OrderKind),
  migrationUid: z.string(),
  attempt: z.int(),
  status: z.enum(OrderStatus),
  failure: z.object({ code: z.string(), message: z.string() }).optional(),
});

const CheckpointRef = z.object({ id: z.string(), manifestKey: z.string(), manifestSha256: z.string() });

/**
 * What the agent must still know after its own restart; kept on the memory-backed work volume, which lives as long as the pod.
 *
 * `serving` runs (or starts) the application. `waiting` is a target before its restore. `frozen` holds a stopped tree;
 * `restored` holds a restored and stopped one. `moved` never starts it again: the instance runs elsewhere.
 */
export const Journal = z.object({
  role: z.enum(['serving', 'waiting', 'frozen', 'restored', 'moved']),
  /** The placeholder that the application belongs to; a restarted container has another. */
  placeholder: z.object({ pid: z.int(), startTime: z.string() }).optional(),
  appPid: z.int().optional(),
  /** Processes that were stopped by us and are continued by RESUME or CONTINUE; the start time tells them from a later pid of the same number. */
  stopped: z.array(z.object({ pid: z.int(), startTime: z.string() })).default([]),
  /** Pages of the restored tree still arrive: whoever finds this after a restart of the agent must not let the tree go on. */
  draining: z.boolean().default(false),
  /** What it is restored from, again if need be, while it drains. */
  restoredFrom: CheckpointRef.optional(),
  order: Order.optional(),
  /** Attempts (`<migration uid>/<attempt>`) that were told to RESUME: nothing else is done for them any more. */
  rolledBack: z.array(z.string()).optional(),
  checkpoint: CheckpointRef.optional(),
});
export type Journal = z.infer<typeof Journal>;
export type Role = Journal['role'];

export interface JournalFile {
  /** undefined when there is none yet. @throws PodferryError INTERNAL when it is unreadable */
  read(): Promise<Journal | undefined>;
  /** Atomic: a reader (or a restarted agent) sees the old or the new one. Of several at a time the one called last stays. */
  write(journal: Journal): Promise<void>;
}

export function journalFile(workDir: string): JournalFile {
  const path = join(workDir, 'journal.json');
  return {
    async read() {
      try {
        return Journal.parse(JSON.parse(readFileSync(path, 'utf8')));
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
        throw toPodferryError(error, `read the agent's journal ${path}`);
      }
    },
    async write(journal) {
      // In one go: an order and the look after the container write at the same time, and each would rename the other's file away.
      // The volume is memory: to wait for a thread would take far longer than the write.
      writeFileSync(`${path}.new`, JSON.stringify(journal), { mode: 0o600 });
      renameSync(`${path}.new`, path);
    },
  };
}
