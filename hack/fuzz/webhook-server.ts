// The webhook's own server as a process of its own, so that its end and its memory are told from those of whoever attacks it.
// Says { port, ca } to its parent once it listens, and ends with it.
import { issueAuthority, issueLeaf } from '../../certs/issue.ts';
import { createLog } from '../../proto/logging.ts';
import { createWebhookServer } from '../../webhook/server.ts';
import { serverName, settings } from './sample.ts';

const authority = await issueAuthority(Date.now());
const leaf = await issueLeaf([serverName], authority, Date.now());
const log = createLog('webhook', 'error');
const server = createWebhookServer({ ...leaf, ca: authority.cert }, () => settings, log);
server.https.listen(0, '127.0.0.1', () => process.send?.({ port: server.port, ca: authority.cert }));
process.once('disconnect', () => process.exit(0));
