import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseKey, readKeys } from '../../../../agent/inspect/keys.ts';
import { dataKeyOf } from '../../../../proto/keys.ts';
import { codeOf, isPodferryError } from '../../../fakes/expect-code.ts';

const key = Buffer.from(Array.from({ length: 32 }, (_, i) => i * 7));
const given = (content: Buffer) => ({ readStdin: async () => Promise.resolve(content) });
const none = { dataKeyFile: undefined, masterKeyFile: undefined };

describe('keys of podferry-inspect', () => {
  const files: Readonly<Record<string, Buffer>> = {
    'as it is': key,
    'hex digits': Buffer.from(`${key.toString('hex')}\n`),
    'base64, as a Secret has it': Buffer.from(key.toString('base64')),
  };
  for (const [name, content] of Object.entries(files)) {
    it(`are read: ${name}`, () => expect(parseKey(content)).to.deep.equal(key));
  }

  for (const content of ['', 'short', key.toString('hex').slice(1), key.subarray(1).toString('base64')]) {
    it(`are not taken from "${content}"`, () =>
      isPodferryError('CONFIG_INVALID', () => parseKey(Buffer.from(content))));
  }

  it("are the instance's own, of the master key", async () => {
    const keyFor = await readKeys({ ...none, masterKeyFile: '-' }, given(key));
    expect(keyFor('a')).to.deep.equal(dataKeyOf(key, 'a'));
    expect(keyFor('b')).not.to.deep.equal(keyFor('a'));
  });

  it('are the same for every instance when it is a data key', async () => {
    const keyFor = await readKeys({ ...none, dataKeyFile: '-' }, given(key));
    expect(keyFor('a')).to.deep.equal(key);
  });

  it('come from a file', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'podferry-keys-'));
    try {
      await writeFile(join(dir, 'key'), key);
      const keyFor = await readKeys({ ...none, dataKeyFile: join(dir, 'key') }, given(Buffer.alloc(0)));
      expect(keyFor('a')).to.deep.equal(key);
      const missing = readKeys({ ...none, masterKeyFile: join(dir, 'other') }, given(key));
      expect(await codeOf(missing)).to.equal('CONFIG_INVALID');
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  it('are asked for only when one is needed', async () => {
    const keyFor = await readKeys(none, given(key));
    isPodferryError('CONFIG_INVALID', () => keyFor('a'));
  });
});
