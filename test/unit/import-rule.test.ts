import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const components = ['webhook', 'operator', 'agent', 'certs'];

function sources(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(root, folder, name));
}

/** The folders at the top level that a file's relative imports lead to. */
function importedFolders(file: string): readonly string[] {
  const specifiers = [...readFileSync(file, 'utf8').matchAll(/(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]/g)];
  return specifiers.map(([, specifier]) => {
    const target = relative(root, resolve(dirname(file), specifier ?? ''));
    return target.split(sep)[0] ?? '';
  });
}

describe('import rule: a component imports proto/ and itself, nothing else of the tree', () => {
  for (const component of components) {
    it(component, () => {
      const offences = sources(component).flatMap((file) =>
        importedFolders(file)
          .filter((folder) => folder !== component && folder !== 'proto')
          .map((folder) => `${relative(root, file)} -> ${folder}`),
      );
      expect(offences).to.deep.equal([]);
    });
  }

  it('proto imports nothing of the components', () => {
    const offences = sources('proto').flatMap((file) => importedFolders(file).filter((folder) => folder !== 'proto'));
    expect(offences).to.deep.equal([]);
  });
});
