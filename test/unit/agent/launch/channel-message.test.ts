import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  channelFds,
  decodeReplies,
  encodeArgv,
  encodeMessage,
  messageTypes,
} from '../../../../agent/launch/channel-message.ts';

const headerBytes = 24;
const pipeBuf = 4096;

describe('the messages to the placeholder', () => {
  it('have the numbers of placeholder.h', () => {
    const header = readFileSync(
      join(import.meta.dirname, '../../../../agent/launch/placeholder/placeholder.h'),
      'utf8',
    );
    for (const [name, number] of Object.entries(messageTypes)) {
      expect(header).to.match(new RegExp(`MESSAGE_${name.toUpperCase()} = ${number}\\b`));
    }
    expect(header).to.include(`REQUEST_WRITE_FD = ${channelFds.requestWrite}`);
    expect(header).to.include(`REPLY_READ_FD = ${channelFds.replyRead}`);
  });

  it('carry any words, each message in one unbroken write', () => {
    const words = fc.array(
      fc.string({ unit: 'grapheme', maxLength: 6_000 }).map((word) => word.replaceAll('\0', '')),
      {
        minLength: 1,
        maxLength: 5,
      },
    );
    fc.assert(
      fc.property(words, (argv) => {
        const messages = encodeArgv(argv, 9);
        let whole = Buffer.alloc(0);
        for (const message of messages) {
          expect(message.length).to.be.at.most(pipeBuf);
          expect(message.readInt32LE(12)).to.equal(whole.length);
          expect(message.readUInt32LE(20)).to.equal(message.length - headerBytes);
          whole = Buffer.concat([whole, message.subarray(headerBytes)]);
        }
        expect(messages[0]?.readInt32LE(16)).to.equal(whole.length);
        expect(whole.toString('utf8')).to.equal(argv.map((word) => `${word}\0`).join(''));
      }),
      { numRuns: 50 },
    );
  });
});

describe('decodeReplies', () => {
  const one = encodeMessage(messageTypes.ping, 4_000_000_000, 10_000, 1);
  const two = encodeMessage(messageTypes.start, 7, 0, 2);

  it('takes whole replies and leaves the rest', () => {
    const { replies, rest } = decodeReplies(Buffer.concat([one, two, one.subarray(0, 10)]));
    expect(replies).to.deep.equal([
      { type: messageTypes.ping, id: 4_000_000_000, a: 10_000, b: 1 },
      { type: messageTypes.start, id: 7, a: 0, b: 2 },
    ]);
    expect(rest).to.deep.equal(one.subarray(0, 10));
  });

  it('passes over what is no reply', () => {
    expect(decodeReplies(Buffer.concat([Buffer.alloc(headerBytes), two])).replies).to.have.length(1);
  });
});
