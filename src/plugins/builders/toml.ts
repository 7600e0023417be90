/** The little of TOML that detection needs: which tables there are, and strings and lists of strings in them. */
export interface TomlTable {
  /** top-level keys of the table in order */
  readonly keys: readonly string[];
  string(key: string): string | null;
  /** all strings of a list, also of one over several lines; empty when it is no list */
  list(key: string): readonly string[];
}

/** One past the end of a value that starts at `from`: strings, brackets and comments are respected. */
function valueEnd(text: string, from: number): number {
  let depth = 0;
  for (let i = from; i < text.length; i++) {
    const c = text[i]!;
    if (c === '"' || c === "'") {
      const triple = text.startsWith(c.repeat(3), i);
      const quote = triple ? c.repeat(3) : c;
      for (i += quote.length; i < text.length && !text.startsWith(quote, i); i++) {
        if (c === '"' && text[i] === '\\') i++;
        else if (!triple && text[i] === '\n') return i;
      }
      i += quote.length - 1;
    } else if (c === '#') { while (i + 1 < text.length && text[i + 1] !== '\n') i++; }
    else if (c === '[' || c === '{') depth++;
    else if (c === ']' || c === '}') depth--;
    else if (c === '\n' && depth <= 0) return i;
  }
  return text.length;
}

const unquote = (text: string): string => text.replace(/^["']|["']$/g, '');

/** Strings of a value, in order. */
function strings(value: string): string[] {
  return [...value.matchAll(/#[^\n]*|"((?:[^"\\\n]|\\.)*)"|'([^'\n]*)'/g)].flatMap((match) => (match[1] !== undefined ? [match[1].replace(/\\(["\\])/g, '$1')] : match[2] !== undefined ? [match[2]] : []));
}

/** Tables by their dotted name; the root is ``. Never throws: what it does not understand it leaves out. */
export function readToml(text: string): ReadonlyMap<string, TomlTable> {
  const source = text.replace(/\r\n/g, '\n');
  const tables = new Map<string, Map<string, string>>();
  let current = new Map<string, string>();
  tables.set('', current);
  let at = 0;
  while (at < source.length) {
    const end = source.indexOf('\n', at) < 0 ? source.length : source.indexOf('\n', at);
    const line = source.slice(at, end);
    const header = /^\s*\[{1,2}\s*([^\]]+?)\s*\]{1,2}\s*(?:#.*)?$/.exec(line);
    const pair = /^\s*("[^"]+"|'[^']+'|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\s*=\s*/.exec(line);
    if (header) {
      const name = header[1]!.split('.').map((part) => unquote(part.trim())).join('.');
      current = tables.get(name) ?? new Map<string, string>();
      tables.set(name, current);
      at = end + 1;
    } else if (pair) {
      const from = at + pair[0].length;
      const to = valueEnd(source, from);
      if (!current.has(unquote(pair[1]!))) current.set(unquote(pair[1]!), source.slice(from, to).trim());
      at = to + 1;
    } else at = end + 1;
  }
  return new Map([...tables].map(([name, pairs]) => [name, {
    keys: [...pairs.keys()],
    string: (key: string): string | null => { const value = pairs.get(key); return value === undefined || !/^["']/.test(value) ? null : strings(value)[0] ?? null; },
    list: (key: string): readonly string[] => { const value = pairs.get(key); return value?.startsWith('[') ? strings(value) : []; },
  }]));
}
