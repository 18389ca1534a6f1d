/** The messages between agent and placeholder, byte for byte as in placeholder/placeholder.h. */

export const messageTypes = { argv: 1, start: 2, adopt: 3, exit: 4, hold: 5, ping: 6 } as const;

/** File descriptors of the placeholder: where requests are written, where replies are read, and where its last word is. */
export const channelFds = { requestWrite: 4, replyRead: 5, endRead: 7 } as const;

const magic = 0x31465250;
const headerBytes = 24;
/** PIPE_BUF: a write up to this size is whole or not at all. */
const messageLimitBytes = 4096;

export interface Reply {
  readonly type: number;
  readonly id: number;
  readonly a: number;
  readonly b: number;
}

export function encodeMessage(type: number, id: number, a = 0, b = 0, payload: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32LE(magic, 0);
  header.writeUInt32LE(type, 4);
  header.writeUInt32LE(id, 8);
  header.writeInt32LE(a, 12);
  header.writeInt32LE(b, 16);
  header.writeUInt32LE(payload.length, 20);
  return Buffer.concat([header, payload]);
}

/** The words of a command, in as many messages as they need. */
export function encodeArgv(argv: readonly string[], id: number): Buffer[] {
  const words = Buffer.from(argv.map((word) => `${word}\0`).join(''), 'utf8');
  const pieceBytes = messageLimitBytes - headerBytes;
  const messages: Buffer[] = [];
  for (let offset = 0; offset < words.length; offset += pieceBytes) {
    const piece = words.subarray(offset, offset + pieceBytes);
    messages.push(encodeMessage(messageTypes.argv, id, offset, words.length, piece));
  }
  return messages;
}

/** Replies have no payload: whole headers are taken off the front of `bytes`, the rest is returned. */
export function decodeReplies(bytes: Buffer): { readonly replies: readonly Reply[]; readonly rest: Buffer } {
  const replies: Reply[] = [];
  let at = 0;
  for (; bytes.length - at >= headerBytes; at += headerBytes) {
    if (bytes.readUInt32LE(at) !== magic) continue;
    replies.push({
      type: bytes.readUInt32LE(at + 4),
      id: bytes.readUInt32LE(at + 8),
      a: bytes.readInt32LE(at + 12),
      b: bytes.readInt32LE(at + 16),
    });
  }
  return { replies, rest: bytes.subarray(at) };
}
