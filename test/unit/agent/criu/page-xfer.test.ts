import { expect } from 'chai';
import * as fc from 'fast-check';
import {
  command,
  decodeHeader,
  encodeHeader,
  headerBytes,
  imageOf,
  pageFlags,
  PageXferParser,
  type Header,
  type PageSink,
} from '../../../../agent/criu/page-xfer.ts';
import { pageBytes } from '../../../../agent/pages/page-size.ts';
import { PodferryError } from '../../../../proto/errors.ts';

const header = (more: Partial<Header>): Header => ({
  command: command.add,
  flags: pageFlags.present,
  pages: 1,
  page: 16,
  destination: 0n,
  ...more,
});

/** Collects what it is given, through rooms of a limited size. */
class Collector implements PageSink {
  readonly headers: Header[] = [];
  readonly content: Buffer[] = [];
  given: Buffer = Buffer.alloc(0);
  constructor(readonly roomBytes: number) {}
  message(got: Header): void {
    this.headers.push(got);
  }
  room(bytes: number): Buffer {
    this.given = Buffer.alloc(Math.min(bytes, this.roomBytes));
    return this.given;
  }
  filled(bytes: number): void {
    this.content.push(this.given.subarray(0, bytes));
  }
}

const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return error instanceof PodferryError ? error.code : String(error);
  }
  return 'none';
};

describe('page-xfer headers', () => {
  it('have the 32 bytes of CRIU 4.2', () => {
    const bytes = encodeHeader(header({ flags: 6, pages: 3, page: 0x10, destination: 0x2a01n }));
    expect(bytes.toString('hex')).to.equal(
      '06000600 00000000 0300000000000000 0000010000000000 012a000000000000'.replaceAll(' ', ''),
    );
  });

  it('survive encoding and decoding', () => {
    const any = fc.record({
      command: fc.integer({ min: 0, max: 0xffff }),
      flags: fc.integer({ min: 0, max: 0xffff }),
      pages: fc.integer({ min: 0, max: 2 ** 40 }),
      page: fc.integer({ min: 0, max: 2 ** 45 }),
      destination: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    });
    fc.assert(fc.property(any, (h) => void expect(decodeHeader(encodeHeader(h))).to.deep.equal(h)));
  });

  const refused = [
    { name: 'an address between pages', change: (b: Buffer) => b.writeBigUInt64LE(4097n, 16) },
    { name: 'a count beyond the address space', change: (b: Buffer) => b.writeBigUInt64LE(2n ** 60n, 8) },
    {
      name: 'an address that overflows with its count',
      change: (b: Buffer) => b.writeBigUInt64LE(2n ** 64n - 4096n, 16),
    },
  ];
  for (const { name, change } of refused) {
    it(`refuse ${name}`, () => {
      const bytes = encodeHeader(header({ pages: 2 }));
      change(bytes);
      expect(codeOf(() => decodeHeader(bytes))).to.equal('PAGE_PROTOCOL');
    });
  }

  const destinations = [
    { destination: (10_000n << 8n) | 1n, expected: { kind: 'pid', id: 10_000 } },
    { destination: (7n << 8n) | 2n, expected: { kind: 'shmem', id: 7 } },
    { destination: (7n << 8n) | 3n, expected: 'PAGE_PROTOCOL' },
    { destination: ((2n ** 55n) << 8n) | 1n, expected: 'PAGE_PROTOCOL' },
  ];
  for (const { destination, expected } of destinations) {
    it(`name the image of destination ${destination}`, () => {
      if (typeof expected === 'string') expect(codeOf(() => imageOf(destination))).to.equal(expected);
      else expect(imageOf(destination)).to.deep.equal(expected);
    });
  }
});

describe('PageXferParser', () => {
  const messages = [
    header({ command: command.open, pages: 0, page: 0, destination: 257n }),
    header({ pages: 3 }),
    header({ pages: 5, flags: pageFlags.lazy }),
    header({ pages: 1, page: 99, flags: 6 }),
    header({ command: command.close, flags: 0, pages: 0, page: 0 }),
  ];
  const contents = [0, 3, 0, 1, 0].map((pages, i) => Buffer.alloc(pages * pageBytes, 10 + i));
  const stream = Buffer.concat(messages.flatMap((h, i) => [encodeHeader(h), contents[i] ?? Buffer.alloc(0)]));

  it('finds the same messages and content however the stream is cut and whatever room there is', () => {
    const cuts = fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(cuts, fc.integer({ min: 1, max: 9000 }), (sizes, room) => {
        const sink = new Collector(room);
        const parser = new PageXferParser(sink);
        for (let at = 0, i = 0; at < stream.byteLength; i += 1) {
          const next = stream.subarray(at, at + (sizes[i % sizes.length] ?? 1));
          expect(parser.feed(next)).to.equal(next.byteLength);
          at += next.byteLength;
        }
        expect(sink.headers).to.deep.equal(messages);
        expect(Buffer.concat(sink.content).equals(Buffer.concat(contents))).to.equal(true);
        expect(parser.atBoundary).to.equal(true);
      }),
    );
  });

  it('receives large content in place, and only content', () => {
    const sink = new Collector(1 << 20);
    const parser = new PageXferParser(sink);
    expect(parser.direct(1)).to.equal(undefined);
    parser.feed(stream.subarray(headerBytes, 2 * headerBytes));
    expect(parser.direct(3 * pageBytes + 1)).to.equal(undefined);
    const room = parser.direct(pageBytes);
    expect(room?.byteLength).to.equal(3 * pageBytes);
    parser.advance(3 * pageBytes - 1);
    expect(parser.direct(1)?.byteLength).to.equal(1);
    expect(parser.atBoundary).to.equal(false);
  });

  it('takes only what there is room for', () => {
    const full: PageSink = { message: () => undefined, room: () => undefined, filled: () => undefined };
    const parser = new PageXferParser(full);
    expect(parser.feed(Buffer.concat([encodeHeader(header({})), Buffer.alloc(pageBytes)]))).to.equal(headerBytes);
    expect(parser.content).to.equal(pageBytes);
  });

  it('never throws anything but PAGE_PROTOCOL, whatever it is fed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4000 }), (bytes) => {
        expect(codeOf(() => new PageXferParser(new Collector(100)).feed(bytes))).to.be.oneOf(['none', 'PAGE_PROTOCOL']);
      }),
    );
  });
});
