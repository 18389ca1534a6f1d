import { inspect } from './run.ts';

const { env, argv } = process;
const stop = new AbortController();
process.once('SIGINT', () => stop.abort(new Error('interrupted')));
process.exitCode = await inspect(
  argv.slice(2),
  { accessKeyId: env['AWS_ACCESS_KEY_ID'] ?? '', secretAccessKey: env['AWS_SECRET_ACCESS_KEY'] ?? '' },
  (line) => process.stdout.write(`${line}\n`),
  stop.signal,
);
