import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sha256Hex } from '../../agent/store/manifest.ts';
import type { S3Settings } from '../../agent/store/s3.ts';
import { googleRefusal } from './google-dialect.ts';

const bucket = 'bucket';
/** Small, so that every listing has several pages. */
const keysOfPage = 2;
const xml = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

/** As much of S3 as the agent uses, in memory; it checks no signatures. Or Google's: it checks those, and has preconditions of its own. */
export class S3Server {
  readonly objects = new Map<string, { readonly body: Buffer; readonly modified: Date }>();
  readonly #server: Server;

  private constructor(readonly dialect: 'amazon' | 'google') {
    this.#server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (chunk: Buffer) => parts.push(chunk));
      request.on('end', () => this.#answer(request, response, Buffer.concat(parts)));
    });
  }

  static async start(dialect: 'amazon' | 'google' = 'amazon'): Promise<S3Server> {
    const server = new S3Server(dialect);
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get settings(): S3Settings {
    const { port } = this.#server.address() as AddressInfo;
    const keys = { accessKeyId: 'id', secretAccessKey: 'a-very-secret-key' };
    const type = this.dialect === 'google' ? 'gcs' : 's3';
    return { endpoint: `http://127.0.0.1:${port}`, region: 'us-east-1', bucket, forcePathStyle: true, type, ...keys };
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #answer(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    const url = new URL(request.url ?? '', 'http://s3');
    const key = decodeURIComponent(url.pathname.slice(`/${bucket}/`.length));
    const refusal = this.dialect === 'google' ? googleRefusal(request, this.settings) : undefined;
    if (refusal !== undefined) refuse(response, refusal.status, refusal.code);
    else if (request.method === 'PUT') this.#put(key, request, response, body);
    else if (request.method === 'DELETE') this.#deleteOne(key, response);
    else if (request.method === 'POST') this.#delete(request.headers, response, body.toString());
    else if (url.searchParams.has('list-type')) this.#list(url.searchParams, response);
    else this.#get(key, request.headers.range, response);
  }

  #put(key: string, request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    const { headers } = request;
    const isGoogle = this.dialect === 'google';
    const digest = headers[isGoogle ? 'x-goog-content-sha256' : 'x-amz-content-sha256'];
    // Google does not look at If-None-Match.
    const isOnce = isGoogle ? headers['x-goog-if-generation-match'] === '0' : headers['if-none-match'] === '*';
    if (digest !== sha256Hex(body)) refuse(response, 400, 'XAmzContentSHA256Mismatch');
    else if (isOnce && this.objects.has(key)) refuse(response, 412, 'PreconditionFailed');
    else {
      this.objects.set(key, { body, modified: new Date() });
      response.end();
    }
  }

  #get(key: string, range: string | undefined, response: ServerResponse): void {
    const object = this.objects.get(key);
    if (object === undefined) {
      refuse(response, 404, 'NoSuchKey');
      return;
    }
    const { body } = object;
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? [];
    if (from === undefined) {
      response.end(body);
    } else if (Number(from) >= body.byteLength) {
      refuse(response, 416, 'InvalidRange');
    } else {
      const part = body.subarray(Number(from), to ? Number(to) + 1 : undefined);
      response.writeHead(206, { 'content-length': part.byteLength });
      response.end(part);
    }
  }

  #list(query: URLSearchParams, response: ServerResponse): void {
    const after = query.get('continuation-token') ?? '';
    const prefix = query.get('prefix') ?? '';
    const delimiter = query.get('delimiter');
    const entryOf = (key: string): string => {
      const end = delimiter === null ? -1 : key.indexOf(delimiter, prefix.length);
      return end < 0 ? key : key.slice(0, end + 1);
    };
    const entries = new Set([...this.objects.keys()].filter((key) => key.startsWith(prefix)).map(entryOf));
    const keys = [...entries].filter((key) => key > after);
    const page = keys.toSorted().slice(0, keysOfPage);
    const contents = page.map((key) => {
      if (key.endsWith('/')) return `<CommonPrefixes><Prefix>${xml(key)}</Prefix></CommonPrefixes>`;
      const { body, modified } = this.objects.get(key) ?? { body: Buffer.alloc(0), modified: new Date(0) };
      return `<Contents><Key>${xml(key)}</Key><Size>${body.byteLength}</Size><LastModified>${modified.toISOString()}</LastModified></Contents>`;
    });
    const next =
      keys.length > page.length ? `<NextContinuationToken>${xml(page.at(-1) ?? '')}</NextContinuationToken>` : '';
    const truncated = `<IsTruncated>${next !== ''}</IsTruncated>`;
    response.end(`<ListBucketResult>${truncated}${next}${contents.join('')}</ListBucketResult>`);
  }

  #deleteOne(key: string, response: ServerResponse): void {
    if (key.includes('locked')) refuse(response, 403, 'AccessDenied');
    else if (this.objects.delete(key)) response.writeHead(204).end();
    else refuse(response, 404, 'NoSuchKey');
  }

  #delete(headers: IncomingMessage['headers'], response: ServerResponse, body: string): void {
    const isChecked = Object.keys(headers).some((name) => /^(?:content-md5|x-amz-checksum-\w+)$/.test(name));
    const count = body.match(/<Object>/g)?.length ?? 0;
    if (this.dialect === 'google' || !isChecked || count > 1000) {
      refuse(response, 400, 'InvalidArgument');
      return;
    }
    const errors = [...body.matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key = '']) => {
      // As a bucket with object lock.
      if (key.includes('locked')) {
        return `<Error><Key>${key}</Key><Code>AccessDenied</Code><Message>locked</Message></Error>`;
      }
      this.objects.delete(key);
      return '';
    });
    response.end(`<DeleteResult>${errors.join('')}</DeleteResult>`);
  }
}

function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'content-type': 'application/xml' });
  response.end(`<Error><Code>${code}</Code><Message>no</Message></Error>`);
}
