// Bundles the benchmarks as dist/bench/main.mjs, and the agent's worker threads beside it as hack/bundle.mjs does: what is measured is the
// agent's code as it is shipped, not as a loader of TypeScript runs it.
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = new URL('../..', import.meta.url).pathname;
const workers = readdirSync(`${root}agent`, { recursive: true }).filter((name) => /\/.*-worker\.ts$/.test(name));

/** Files of hack/ and test/ look for others beside themselves, not beside the bundle. */
const ownAddresses = {
  name: 'own-addresses',
  setup({ onLoad }) {
    onLoad({ filter: /\/(hack|test)\/.*\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      return { contents: source.replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href)), loader: 'ts' };
    });
  },
};

await build({
  absWorkingDir: root,
  entryPoints: [
    { in: 'hack/bench/main.ts', out: 'main' },
    { in: 'hack/bench/noop-webhook.ts', out: 'noop-webhook' },
    ...workers.map((name) => ({ in: `agent/${name}`, out: `agent-${basename(name, '.ts')}` })),
  ],
  outdir: 'dist/bench',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  loader: { '.node': 'copy' },
  assetNames: '[name]',
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  plugins: [ownAddresses],
  logLevel: 'warning',
});
