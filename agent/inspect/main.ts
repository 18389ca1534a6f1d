import { buffer } from 'node:stream/consumers';
import { inspect } from './run.ts';
import { surroundingsOf } from './surroundings.ts';

const stop = new AbortController();
process.once('SIGINT', () => stop.abort(new Error('interrupted')));
process.exitCode = await inspect(
  process.argv.slice(2),
  surroundingsOf(process.env, async () => buffer(process.stdin)),
  (line) => process.stdout.write(`${line}\n`),
  stop.signal,
);
