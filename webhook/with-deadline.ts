/**
 * Runs work under a signal that aborts after a time, too. Not AbortSignal.any with AbortSignal.timeout: Node 20 may collect
 * the pair before it fires (nodejs/node 57736).
 * @throws whatever the work does; when the time is over that follows from a TimeoutError
 */
export async function withDeadline<T>(
  ms: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new DOMException(`not done within ${ms} ms`, 'TimeoutError')), ms);
  try {
    return await work(AbortSignal.any([signal, late.signal]));
  } finally {
    clearTimeout(timer);
  }
}
