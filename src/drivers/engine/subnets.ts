/** IPv4 ranges as whole numbers: `[first, last]`. Pure. */
export type Range = readonly [first: number, last: number];

export function parseCidr(cidr: string): Range | null {
  const found = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:\/(\d{1,2}))?$/.exec(cidr);
  if (!found) return null;
  const parts = found.slice(1, 5).map(Number);
  const bits = found[5] === undefined ? 32 : Number(found[5]);
  if (parts.some((part) => part > 255) || bits > 32) return null;
  const size = 2 ** (32 - bits);
  const address = parts.reduce((sum, part) => sum * 256 + part, 0);
  const first = address - (address % size);
  return [first, first + size - 1];
}

export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}

/** The /24s of a pool that touch none of the taken ranges, in order. */
export function* freeSubnets(pool: string, taken: readonly string[]): Generator<{ readonly subnet: string; readonly gateway: string }> {
  const range = parseCidr(pool);
  if (!range) throw new Error(`${pool}: not an IPv4 network`);
  const used = taken.map(parseCidr).filter((at): at is Range => at !== null);
  for (let first = range[0]; first + 255 <= range[1]; first += 256) {
    if (used.some(([from, to]) => from <= first + 255 && to >= first)) continue;
    yield { subnet: `${formatAddress(first)}/24`, gateway: formatAddress(first + 1) };
  }
}
