import http from 'node:http';

/**
 * /healthz: the process answers. /readyz: 200 when nothing is wrong, else 503 and what is. It does not listen by itself.
 * @param problems what keeps us from working, in words; asked at each request
 */
export function createHealthServer(problems: () => readonly string[]): http.Server {
  return http.createServer((request, response) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') return end(405, 'method not allowed');
    if (request.url === '/healthz') return end(200, 'ok');
    if (request.url !== '/readyz') return end(404, 'not found');
    const found = problems();
    return found.length === 0 ? end(200, 'ok') : end(503, found.join('\n'));

    function end(status: number, text: string): void {
      response.writeHead(status, { 'content-type': 'text/plain' });
      response.end(`${text}\n`);
    }
  });
}
