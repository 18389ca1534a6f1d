// GET /next: the next number, remembered in memory that is checked by GET /check, like the other programs of this folder.
import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { setInterval } from 'node:timers';

const memory = randomBytes(64 << 20);
const digest = () => createHash('sha256').update(memory).digest('hex');
const before = digest();
const given = new Map();
let next = 0;
let ticks = 0;
setInterval(() => (ticks += 1), 5);

createServer((request, response) => {
  if (request.url === '/next') {
    next += 1;
    given.set(`key ${next}`, next);
    response.end(`${next}\n`);
  } else {
    const isWhole = digest() === before && given.size === next && [...given.values()].every((n, i) => n === i + 1);
    response.end(isWhole && ticks > 0 ? 'ok\n' : 'damaged\n');
  }
}).listen(8080);
