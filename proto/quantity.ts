const suffixes: Readonly<Record<string, bigint>> = {
  n: 1n,
  u: 1_000n,
  m: 1_000_000n,
  '': 1_000_000_000n,
  k: 10n ** 12n,
  M: 10n ** 15n,
  G: 10n ** 18n,
  T: 10n ** 21n,
  P: 10n ** 24n,
  E: 10n ** 27n,
  Ki: 10n ** 9n * 2n ** 10n,
  Mi: 10n ** 9n * 2n ** 20n,
  Gi: 10n ** 9n * 2n ** 30n,
  Ti: 10n ** 9n * 2n ** 40n,
  Pi: 10n ** 9n * 2n ** 50n,
  Ei: 10n ** 9n * 2n ** 60n,
};

/**
 * A Kubernetes quantity in billionths (the smallest unit the API knows), rounded down.
 * @returns undefined when it is none
 * @see kubernetes/apimachinery pkg/api/resource/quantity.go: the grammar
 */
export function quantityInNanos(value: unknown): bigint | undefined {
  if (typeof value !== 'string' && typeof value !== 'number') return undefined;
  const parts = /^([+-]?)(\d{0,30})(?:\.(\d{0,30}))?(?:[eE]([+-]?\d{1,2})|([numkMGTPE]|[KMGTPE]i)?)$/.exec(
    String(value),
  );
  if (parts === null) return undefined;
  const [, sign = '', whole = '', fraction = '', exponent, suffix = ''] = parts;
  if (whole === '' && fraction === '') return undefined;
  const unit = suffixes[suffix];
  if (unit === undefined) return undefined;
  const shift = Number(exponent ?? 0) - fraction.length;
  const scaled = BigInt(whole + fraction) * unit;
  const nanos = shift < 0 ? scaled / 10n ** BigInt(-shift) : scaled * 10n ** BigInt(shift);
  return sign === '-' ? -nanos : nanos;
}
