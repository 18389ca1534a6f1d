import { expect } from 'chai';
import { expandCommand } from '../../../../agent/launch/command.ts';

describe('expandCommand', () => {
  const environment = new Map([
    ['A', '1'],
    ['B', '$(A)'],
    ['EMPTY', ''],
    ['with.dot-and_dash', 'x'],
  ]);
  const cases: readonly { readonly word: string; readonly expanded: string }[] = [
    { word: 'plain', expanded: 'plain' },
    { word: '', expanded: '' },
    { word: '$(A)', expanded: '1' },
    { word: '--a=$(A),$(A)!', expanded: '--a=1,1!' },
    { word: '$(B)', expanded: '$(A)' },
    { word: '$(EMPTY)', expanded: '' },
    { word: '$(with.dot-and_dash)', expanded: 'x' },
    { word: '$(UNKNOWN)', expanded: '$(UNKNOWN)' },
    { word: '$()', expanded: '$()' },
    { word: '$$(A)', expanded: '$(A)' },
    { word: '$$$(A)', expanded: '$1' },
    { word: '$$$$(A)', expanded: '$$(A)' },
    { word: '$A ${A} $', expanded: '$A ${A} $' },
    { word: '$(A', expanded: '$(A' },
    { word: '$(UNKNOWN)$(A)', expanded: '$(UNKNOWN)1' },
    { word: '$$', expanded: '$' },
  ];
  for (const { word, expanded } of cases) {
    it(`makes ${JSON.stringify(expanded)} of ${JSON.stringify(word)}`, () => {
      expect(expandCommand({ container: 'app', command: [word], created: [] }, environment)).to.deep.equal([expanded]);
    });
  }

  it('puts the args after the command', () => {
    const original = { container: 'app', command: ['/bin/x', '-a'], args: ['$(A)', ''], created: [] };
    expect(expandCommand(original, environment)).to.deep.equal(['/bin/x', '-a', '1', '']);
  });

  const image = { name: 'app:1', entrypoint: ['/entry', '$(A)'], cmd: ['--cmd', '$(A)'] };
  const resolutions: readonly {
    readonly name: string;
    readonly spec: { readonly command?: string[]; readonly args?: string[] };
    readonly words: readonly string[];
  }[] = [
    { name: 'nothing: ENTRYPOINT and CMD, as they are', spec: {}, words: ['/entry', '$(A)', '--cmd', '$(A)'] },
    { name: 'args: ENTRYPOINT and these', spec: { args: ['x', '$(A)'] }, words: ['/entry', '$(A)', 'x', '1'] },
    { name: 'a command: nothing of the image', spec: { command: ['/own', '$(A)'] }, words: ['/own', '1'] },
    { name: 'both', spec: { command: ['/own'], args: ['x'] }, words: ['/own', 'x'] },
    {
      name: 'empty lists, which count as none',
      spec: { command: [], args: [] },
      words: ['/entry', '$(A)', '--cmd', '$(A)'],
    },
  ];
  for (const { name, spec, words } of resolutions) {
    it(`starts, where the spec has ${name}`, () => {
      expect(expandCommand({ container: 'app', image, ...spec, created: [] }, environment)).to.deep.equal(words);
    });
  }

  it('has no word without a command', () => {
    expect(expandCommand({ container: 'app', created: [] }, environment)).to.deep.equal([]);
  });
});
