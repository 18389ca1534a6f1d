// What a webhook costs that does nothing: the same Node and TLS, no framework, and the answer is "allowed". A program of its own.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';

const dir = process.env['PODFERRY_TLS_DIR'] ?? '.';
const tls = { cert: readFileSync(join(dir, 'tls.crt')), key: readFileSync(join(dir, 'tls.key')) };
const server = createServer({ ...tls, keepAliveTimeout: 130_000 }, (request, response) => {
  void json(request).then((body) => {
    const { uid } = (body as { readonly request: { readonly uid: string } }).request;
    const answer = {
      apiVersion: 'admission.k8s.io/v1',
      kind: 'AdmissionReview',
      response: { uid, allowed: true },
    };
    response.setHeader('content-type', 'application/json').end(JSON.stringify(answer));
  });
});
server.listen(0, '127.0.0.1', () => {
  console.error(JSON.stringify({ message: 'listening', port: (server.address() as AddressInfo).port }));
});
