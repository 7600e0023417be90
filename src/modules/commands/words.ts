/** `0.8s`, `12.4s`, `3m 05s` */
export function seconds(ms: number): string {
  if (ms < 999.5) return `${Math.max(0, Math.round(ms))}ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)}s`;
  const s = Math.round(ms / 1000);
  return s < 3600 ? `${Math.floor(s / 60)}m ${String(s % 60).padStart(2, '0')}s` : `${Math.floor(s / 3600)}h ${String(Math.floor((s % 3600) / 60)).padStart(2, '0')}m`;
}

/** `512 B`, `1.5 kB`, `212 MB` */
export function bytes(n: number): string {
  for (const [unit, size] of [['GB', 1e9], ['MB', 1e6], ['kB', 1e3]] as const) {
    const rounded = (n / size).toFixed(n / size < 9.95 ? 1 : 0);
    if (n >= size * 0.9995) return `${rounded} ${unit}`;
  }
  return `${n} B`;
}

/** `2026-11-22 18:04:51` in UTC */
export const when = (ms: number): string => new Date(ms).toISOString().slice(0, 19).replace('T', ' ');

/** Rows under headings, columns two spaces apart; the last column is not padded. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [headings, ...rows];
  const widths = headings.map((_, i) => Math.max(...all.map((row) => row[i]?.length ?? 0)));
  return all.map((row) => row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i]!))).join('  ').trimEnd());
}

/** Dokku's report: a heading, and `Key:  value` lines whose keys are padded to the longest. */
export function report(heading: string, values: Readonly<Record<string, string>>): string[] {
  const keys = Object.keys(values);
  const label = (key: string): string => `${key.charAt(0).toUpperCase()}${key.slice(1).replace(/-/g, ' ')}:`;
  const width = Math.max(31, ...keys.map((key) => label(key).length + 1));
  return [`=====> ${heading}`, ...keys.map((key) => `       ${label(key).padEnd(width)}${values[key]}`.trimEnd())];
}
