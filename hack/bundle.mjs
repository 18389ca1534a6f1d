// Bundles each component into one file: dist/<component>.mjs, which its Dockerfile copies. Components that are not
// there (a partial checkout) are left out.
import { existsSync } from 'node:fs';
import { build } from 'esbuild';

const root = new URL('..', import.meta.url).pathname;
const components = ['webhook', 'operator', 'agent', 'certs'].filter((name) => existsSync(`${root}${name}/main.ts`));

await build({
  absWorkingDir: root,
  entryPoints: components.map((name) => ({ in: `${name}/main.ts`, out: name })),
  outdir: 'dist',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  // CommonJS dependencies call require for Node's own modules; an ES module has none.
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  legalComments: 'eof',
  logLevel: 'warning',
});
