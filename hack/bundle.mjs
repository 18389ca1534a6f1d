// Bundles each component into one file: dist/<component>.mjs, which its Dockerfile copies. Components that are not
// there (a partial checkout) are left out. Worker threads are bundles of their own beside the agent's (agent/start-worker.ts).
import { existsSync } from 'node:fs';
import { build } from 'esbuild';

const root = new URL('..', import.meta.url).pathname;
const components = ['webhook', 'operator', 'agent', 'certs'].filter((name) => existsSync(`${root}${name}/main.ts`));
// Bundle -> source. A worker's bundle is named `agent-<its file>`.
const more = {
  'agent-frame-worker': 'agent/store/frame-worker.ts',
  'podferry-inspect': 'agent/inspect/main.ts',
  'agent-scan-worker': 'agent/memory/scan-worker.ts',
};

await build({
  absWorkingDir: root,
  entryPoints: [
    ...components.map((name) => ({ in: `${name}/main.ts`, out: name })),
    ...Object.entries(more)
      .filter(([, source]) => existsSync(`${root}${source}`))
      .map(([out, source]) => ({ in: source, out })),
  ],
  // Tests bundle into a folder of their own.
  outdir: process.argv[2] ?? 'dist',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  // Native modules are copied beside the bundles, which require them by name.
  loader: { '.node': 'copy' },
  assetNames: '[name]',
  // CommonJS dependencies call require for Node's own modules; an ES module has none.
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  legalComments: 'eof',
  logLevel: 'warning',
});
