import type { Transfer } from '../../proto/gen/agent/v1/agent.ts';

/** A Transfer in which nothing but what is named was moved. */
export function transferOf(
  parts: Partial<Omit<Transfer, 'pageBytes' | 'storedBytes' | 'fileBytes' | 'directBytes' | 'totalBytes'>> & {
    readonly pageBytes?: number;
    readonly storedBytes?: number;
    readonly fileBytes?: number;
    readonly directBytes?: number;
    readonly totalBytes?: number;
  },
): Transfer {
  const { pageBytes = 0, storedBytes = 0, fileBytes = 0, directBytes = 0, totalBytes, ...rest } = parts;
  return {
    freezeMs: 0,
    tookMs: 0,
    timeline: [],
    rounds: 0,
    lazy: undefined,
    ...rest,
    pageBytes: BigInt(pageBytes),
    storedBytes: BigInt(storedBytes),
    fileBytes: BigInt(fileBytes),
    directBytes: BigInt(directBytes),
    ...(totalBytes === undefined ? {} : { totalBytes: BigInt(totalBytes) }),
  };
}
