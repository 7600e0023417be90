/** A sealed value stays sealed, and is not printed either. */
export function masked(data: unknown): unknown {
  if (Array.isArray(data)) return data.map(masked);
  if (typeof data !== 'object' || data === null) return data;
  const entries = Object.entries(data);
  if ('ct' in data && 'iv' in data && 'tag' in data) return '(sealed)';
  return Object.fromEntries(entries.map(([key, value]) => [key, key === 'hash' ? '(hidden)' : masked(value)]));
}

/** An event's data in one line of at most `max` characters. */
export function brief(data: unknown, max = 160): string {
  const text = JSON.stringify(masked(data));
  return text.length > max ? `${text.slice(0, max)}…` : text;
}
