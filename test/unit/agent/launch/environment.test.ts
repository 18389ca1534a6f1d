import { expect } from 'chai';
import { parseEnvironment, readEnvironment } from '../../../../agent/launch/environment.ts';
import { PodferryError } from '../../../../proto/errors.ts';

describe('parseEnvironment', () => {
  const cases: readonly { readonly name: string; readonly block: string; readonly entries: readonly string[][] }[] = [
    { name: 'nothing', block: '', entries: [] },
    { name: 'values with equals signs and line breaks', block: 'A=x=y\0B=1\n2\0', entries: [['A', 'x=y'], ['B', '1\n2']] }, // prettier-ignore
    { name: 'empty values', block: 'A=\0', entries: [['A', '']] },
    { name: 'the first of equal names', block: 'A=1\0A=2\0', entries: [['A', '1']] },
    { name: 'what is no assignment', block: 'junk\0=x\0A=1', entries: [['A', '1']] },
  ];
  for (const { name, block, entries } of cases) {
    it(`reads ${name}`, () => expect([...parseEnvironment(block)]).to.deep.equal(entries));
  }
});

describe('readEnvironment', () => {
  it('names the pid when there is no such process', async () => {
    const error: unknown = await readEnvironment(2 ** 30).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(PodferryError).and.to.include({ code: 'PLACEHOLDER_UNREACHABLE' });
  });
});
