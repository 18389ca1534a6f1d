// An agent's work on one process, again and again, until it is killed: a checkpoint, continue, garbage collection. Says on standard output what it
// does, a word a line, before it does it.
import { writeSync } from 'node:fs';
import { takeCheckpoint } from '../../../../agent/checkpoint/take.ts';
import { collectGarbage, storeTime } from '../../../../agent/store/collect-garbage.ts';
import { createFileStore } from '../../../../agent/store/file.ts';
import type { Store } from '../../../../agent/store/store.ts';
import { argumentsHere, type KillChildOptions } from './kill-options.ts';

const options = JSON.parse(process.argv[2] ?? '') as KillChildOptions;
const { criu, keyPrefix, policy } = options;
const { signal } = new AbortController();
const sealing = { instance: options.instance, id: options.keyId, key: Buffer.from(options.dataKey, 'hex') };

const say = (word: string): void => void writeSync(1, `${word}\n`);
const files = createFileStore(options.root);
const kindOf = (key: string): string => (key.endsWith('/manifest') ? 'manifest' : 'pack');
const store: Store = {
  ...files,
  put: async (key, body, more) => {
    if (kindOf(key) === 'pack') say('put pack');
    await files.put(key, body, more);
  },
  putOnce: async (key, body, more) => {
    say('put manifest');
    await files.putOnce(key, body, more);
    say('stored');
  },
  delete: async (keys, signal) => {
    for (const key of keys) {
      say(`delete ${kindOf(key)}`);
      await files.delete([key], signal);
    }
  },
};

for (const id of options.ids) {
  say('begin');
  await takeCheckpoint({
    criu: {
      command: (args) => {
        say('criu');
        return { ...criu, args: criu.args.flatMap((arg) => (arg === argumentsHere ? args : [arg])) };
      },
      pathFor: (path) => path,
    },
    store,
    keyPrefix,
    id,
    sealing,
    generation: 0,
    facts: { criu: '4.2.1', kernel: 'k', machine: 'x86_64', cpuFlags: [] },
    rootPid: options.pids[0] ?? 0,
    stdioPid: options.stdioPid,
    stoppedBefore: [],
    workDir: options.workDir,
    deadlineMs: 60_000,
    onStopped: () => say('stopped'),
  });
  for (const pid of options.pids) process.kill(pid, 'SIGCONT');
  say('collect');
  const nowMs = (await storeTime(store, keyPrefix, signal)) + options.olderMs;
  await collectGarbage({ store, keyPrefix, sealing, policy, nowMs, signal });
}
say('end');
