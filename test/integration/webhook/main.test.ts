import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { issueAuthority, issueLeaf } from '../../../certs/issue.ts';
import type { KeyPair } from '../../../certs/key-pair.ts';

const dnsName = 'podferry-webhook.migration-system.svc';
const main = join(import.meta.dirname, '../../../webhook/main.ts');

/** The webhook as its container starts it. */
describe('webhook process', function () {
  this.timeout(60_000);
  let directory: string;
  let authority: KeyPair;
  let child: ChildProcess | undefined;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'podferry-webhook-'));
    authority = await issueAuthority(Date.now());
    const { cert, key } = await issueLeaf([dnsName], authority, Date.now());
    const files = { 'tls.crt': cert, 'tls.key': key, 'ca.crt': authority.cert };
    await Promise.all(Object.entries(files).map(([name, pem]) => writeFile(join(directory, name), pem)));
  });
  afterEach(async () => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  });
  after(() => rm(directory, { recursive: true }));

  /** @returns its log, a line an object */
  function start(environment: Readonly<Record<string, string>>): AsyncIterableIterator<Record<string, unknown>> {
    const env = { PATH: process.env['PATH'], ...environment };
    child = spawn(process.execPath, ['--import', 'tsx', main], { env, stdio: ['ignore', 'ignore', 'pipe'] });
    if (child.stderr === null) throw new TypeError('no stderr');
    return lines(createInterface(child.stderr));
  }

  async function* lines(from: AsyncIterable<string>): AsyncIterableIterator<Record<string, unknown>> {
    for await (const line of from) if (line.startsWith('{')) yield JSON.parse(line) as Record<string, unknown>;
  }

  function ask(port: number, path: string): Promise<{ status: number | undefined; body: string }> {
    return new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port, path, servername: dnsName, ca: authority.cert, agent: false };
      const request = https.get(options, (response) => {
        text(response).then((body) => resolve({ status: response.statusCode, body }), reject);
      });
      request.on('error', reject);
    });
  }

  it('answers, says on SIGTERM that it leaves, answers on, and ends with 0', async function () {
    const log = start({ PODFERRY_AGENT_IMAGE: 'agent:1', PODFERRY_TLS_DIR: directory, PODFERRY_PORT: '0' });
    const said: unknown[] = [];
    let port = 0;
    for await (const line of log) {
      said.push(line['message']);
      if (line['message'] === 'webhook ended' && line['code'] === 'EADDRINUSE') {
        console.log(`      skipped: another process listens on the port of the webhook: ${String(line['error'])}`);
        this.skip();
      }
      if (line['message'] === 'listening') {
        port = Number(line['port']);
        expect(await ask(port, '/readyz')).to.deep.equal({ status: 200, body: 'ok' });
        child?.kill('SIGTERM');
      }
      if (line['message'] === 'leaving') {
        expect(await ask(port, '/readyz')).to.deep.equal({ status: 503, body: 'leaving' });
        expect(await ask(port, '/healthz')).to.deep.equal({ status: 200, body: 'ok' });
      }
    }
    expect(said).to.include.members(['listening', 'leaving']);
    if (child?.exitCode === null) await once(child, 'exit');
    expect(child?.exitCode).to.equal(0);
  });

  const failures: readonly (readonly [string, Readonly<Record<string, string>>, RegExp])[] = [
    ['without an image', { PODFERRY_TLS_DIR: '/nowhere' }, /PODFERRY_AGENT_IMAGE/],
    [
      'without a certificate',
      { PODFERRY_AGENT_IMAGE: 'agent:1', PODFERRY_TLS_DIR: '/nowhere' },
      /cannot read tls\.crt/,
    ],
  ];
  for (const [name, environment, says] of failures) {
    it(`ends with 1 ${name}, and says why by its code`, async () => {
      const said: Record<string, unknown>[] = [];
      for await (const line of start(environment)) said.push(line);
      expect(said.at(-1)).to.include({ message: 'webhook ended', code: 'CONFIG_INVALID' });
      expect(said.at(-1)?.['error']).to.match(says);
      if (child?.exitCode === null) await once(child, 'exit');
      expect(child?.exitCode).to.equal(1);
    });
  }
});
