import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker, type WorkerOptions } from 'node:worker_threads';

/**
 * Starts a worker thread whose code is `<name>.ts` beside the caller; bundled, it is `agent-<name>.mjs` beside the bundle (hack/bundle.mjs makes
 * one of each worker).
 * @param here import.meta.url of the caller
 */
export function startWorker(here: string, name: string, options: WorkerOptions = {}): Worker {
  if (!here.endsWith('.ts')) return new Worker(new URL(`./agent-${name}.mjs`, here), options);
  // From the sources (tests): Node 20 does not pass the loader of TypeScript on to threads, so it is registered there again.
  const loader = pathToFileURL(
    createRequire(here)
      .resolve('tsx/esm/api')
      .replace(/\.cjs$/, '.mjs'),
  ).href;
  const entry = new URL(`./${name}.ts`, here).href;
  const code = `import(${JSON.stringify(loader)}).then((tsx) => (tsx.register(), import(${JSON.stringify(entry)})))`;
  return new Worker(code, { ...options, eval: true });
}
