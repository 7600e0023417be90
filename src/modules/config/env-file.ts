import { Rejected } from '../../events/decider.js';
import { shown } from '../apps/app.decider.js';
import { checkKey } from './config.decider.js';

/** The formats of `config:export`; meanings as in Dokku. */
export const FORMATS = ['exports', 'envfile', 'shell', 'docker-args', 'docker-args-keys', 'json', 'json-list', 'pretty'] as const;
export type Format = (typeof FORMATS)[number];

const single = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
const double = (text: string): string => `"${text.replace(/[\\"$`]/g, '\\$&').replaceAll('\n', '\\n').replaceAll('\r', '\\r')}"`;

/** Lines of one format, sorted by key in byte order. */
export function exportAs(format: Format, vars: Readonly<Record<string, string>>): string[] {
  const pairs = Object.entries(vars).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  switch (format) {
    case 'exports': return pairs.map(([key, value]) => `export ${key}=${single(value)}`);
    case 'envfile': return pairs.map(([key, value]) => `${key}=${/^-?\d+$/.test(value) ? value : double(value)}`);
    case 'shell': return [pairs.map(([key, value]) => `${key}=${single(value)} `).join('')];
    case 'docker-args': return [pairs.map(([key, value]) => `--env=${key}=${single(value)}`).join(' ')];
    case 'docker-args-keys': return [pairs.map(([key]) => `--env=${key}`).join(' ')];
    case 'json': return [JSON.stringify(Object.fromEntries(pairs))];
    case 'json-list': return [JSON.stringify(pairs.map(([name, value]) => ({ name, value })))];
    case 'pretty': {
      const width = Math.max(0, ...pairs.map(([key]) => key.length)) + 3;
      return pairs.map(([key, value]) => `${`${key}:`.padEnd(width)}${value}`);
    }
  }
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '\\': '\\', '"': '"', $: '$', '`': '`' };

/**
 * Reads a dotenv file: `KEY=value`, `export KEY=value`, comments, single quotes as they are, double quotes with escapes, both over
 * several lines. @throws Rejected naming the line
 */
export function parseEnvFile(text: string): Record<string, string> {
  const vars: Record<string, string> = {};
  let at = 0;
  let line = 1;
  const fail = (what: string): never => { throw new Rejected('config.file', `Line ${line}: ${what}`, 'KEY=value, one a line; quote what has spaces or several lines'); };
  const source = text.replace(/^\uFEFF/, '');
  while (at < source.length) {
    const end = source.indexOf('\n', at) < 0 ? source.length : source.indexOf('\n', at);
    const row = source.slice(at, end);
    if (/^\s*(?:#[^]*)?$/.test(row)) {
      at = end + 1;
      line += 1;
      continue;
    }
    const match = /^\s*(?:export\s+)?([^=\s]+)\s*=[ \t]*/.exec(row);
    if (!match) return fail(`'${shown(row, 40)}' is not of the form KEY=value`);
    const key = match[1]!;
    checkKey(key);
    at += match[0].length;
    const quote = source[at];
    if (quote === '"' || quote === "'") {
      let value = '';
      let i = at + 1;
      for (; i < source.length && source[i] !== quote; i += 1) {
        if (quote === '"' && source[i] === '\\' && i + 1 < source.length) {
          i += 1;
          value += ESCAPES[source[i]!] ?? `\\${source[i]!}`;
        } else if (quote === "'" || source[i] !== '\r' || source[i + 1] !== '\n') value += source[i]; // a file from Windows
      }
      // 'it'\''s': a single quote as a shell writes it
      while (quote === "'" && source.startsWith("'\\''", i)) {
        value += "'";
        for (i += 4; i < source.length && source[i] !== quote; i += 1) value += source[i];
      }
      if (i >= source.length) return fail(`the quote that opens the value of ${key} is never closed`);
      const rest = source.slice(i + 1, source.indexOf('\n', i) < 0 ? source.length : source.indexOf('\n', i));
      if (!/^\s*(?:#[^]*)?$/.test(rest)) return fail(`something follows the closing quote of ${key}`);
      vars[key] = value;
      line += source.slice(at, i).split('\n').length;
      at = i + 1 + rest.length + 1;
    } else {
      vars[key] = source.slice(at, end).replace(/\s+#[^]*$/, '').trim();
      at = end + 1;
      line += 1;
    }
  }
  return vars;
}

/** Reads `{"KEY": "value"}`; numbers and booleans become text. @throws Rejected */
export function parseJsonVars(text: string): Record<string, string> {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (error) {
    throw new Rejected('config.json', `This is not JSON: ${(error as Error).message}`);
  }
  if (typeof data !== 'object' || data === null || Array.isArray(data)) throw new Rejected('config.json', 'An object of names and values is needed', '{"KEY": "value"}');
  return Object.fromEntries(Object.entries(data).map(([key, value]) => {
    checkKey(key);
    if (typeof value === 'object') throw new Rejected('config.json', `The value of ${key} is not text`);
    return [key, String(value)];
  }));
}
