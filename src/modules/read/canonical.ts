const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** JSON whose keys are in order: two states that say the same give the same text, wherever they come from. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => (isRecord(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))) : part)) ?? 'null';
}

export interface Difference { readonly path: string; readonly was: string; readonly is: string }

const brief = (value: unknown): string => {
  const text = value === undefined ? 'nothing' : canonical(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
};

/** The first `limit` places at which two plain values differ. */
export function differences(was: unknown, is: unknown, limit = 20): Difference[] {
  const found: Difference[] = [];
  const walk = (a: unknown, b: unknown, path: string): void => {
    if (found.length >= limit) return;
    const both = (Array.isArray(a) && Array.isArray(b)) || (isRecord(a) && isRecord(b));
    if (!both) {
      if (canonical(a) !== canonical(b)) found.push({ path: path || '.', was: brief(a), is: brief(b) });
      return;
    }
    const [x, y] = [a as Record<string, unknown>, b as Record<string, unknown>];
    for (const key of new Set([...Object.keys(x), ...Object.keys(y)])) walk(x[key], y[key], path ? `${path}.${key}` : key);
  };
  walk(was, is, '');
  return found;
}
