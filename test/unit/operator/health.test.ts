import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Server } from 'node:http';
import { expect } from 'chai';
import { createHealthServer } from '../../../operator/health.ts';

describe('operator/health', () => {
  let problems: string[] = [];
  let server: Server;
  let base: string;

  before(async () => {
    server = createHealthServer(() => problems);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => {
    server.close();
    server.closeAllConnections();
  });

  const cases = [
    { path: '/healthz', problems: ['pods are not listed yet'], status: 200 },
    { path: '/readyz', problems: [], status: 200 },
    { path: '/readyz', problems: ['pods are not listed yet'], status: 503 },
    { path: '/', problems: [], status: 404 },
    { path: '/readyz', method: 'POST', problems: [], status: 405 },
  ];
  for (const c of cases) {
    it(`${c.method ?? 'GET'} ${c.path} with ${c.problems.length} problems: ${c.status}`, async () => {
      problems = c.problems;
      const response = await fetch(base + c.path, { method: c.method ?? 'GET' });
      expect(response.status).to.equal(c.status);
      if (c.status === 503) expect(await response.text()).to.contain('pods are not listed yet');
    });
  }
});
