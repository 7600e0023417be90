/** One instruction of a Dockerfile, by physical lines (0-based, both included). */
export interface Instruction {
  /** upper case */
  readonly keyword: string;
  readonly first: number;
  readonly last: number;
  /** last line that is not a heredoc's body */
  readonly head: number;
  /** the file ends while it still goes on */
  readonly open: boolean;
  /** where the keyword ends in its first line */
  readonly keywordEnd: number;
}
export interface ParsedDockerfile {
  readonly lines: readonly string[];
  /** `\` or a backtick */
  readonly escape: string;
  /** line of `# syntax=…`, or null */
  readonly syntax: number | null;
  /** parser directives end before this line */
  readonly body: number;
  readonly instructions: readonly Instruction[];
}

const DIRECTIVE = /^\s*#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$/;
const HEREDOC = /(?:^|\s)\d*<<(-?)(?:"(\w[\w.-]*)"|'(\w[\w.-]*)'|(\w[\w.-]*))/g;

/** Reads just enough to know where instructions begin and end: directives, comments, continuations, heredocs. Pure. */
export function parseDockerfile(text: string): ParsedDockerfile {
  const lines = text.split('\n');
  let escape = '\\';
  let syntax: number | null = null;
  let at = 0;
  const seen = new Set<string>();
  for (; at < lines.length; at += 1) {
    const found = DIRECTIVE.exec(lines[at] ?? '');
    const name = found?.[1]?.toLowerCase();
    if (!name || !['syntax', 'escape', 'check'].includes(name) || seen.has(name)) break;
    seen.add(name);
    if (name === 'syntax') syntax = at;
    if (name === 'escape' && found?.[2] === '`') escape = '`';
  }
  const body = at;
  const continued = new RegExp(`${escape === '`' ? '`' : '\\\\'}[ \\t]*\\r?$`);
  const idle = (line: string): boolean => /^\s*(#.*)?\r?$/.test(line);
  const instructions: Instruction[] = [];
  while (at < lines.length) {
    const line = lines[at] ?? '';
    const keyword = /^\s*([A-Za-z]+)/.exec(line);
    if (idle(line) || !keyword) {
      at += 1;
      continue;
    }
    const first = at;
    const words = [line];
    while (continued.test(lines[at] ?? '') && at + 1 < lines.length) {
      at += 1;
      // comments and empty lines inside do not end it
      while (at + 1 < lines.length && idle(lines[at] ?? '')) at += 1;
      words.push(lines[at] ?? '');
    }
    const head = at;
    const open = continued.test(lines[at] ?? '') || (words.length > 1 && idle(lines[at] ?? ''));
    const name = (keyword[1] ?? '').toUpperCase();
    if (name === 'RUN' || name === 'COPY' || name === 'ADD') at = skipHeredocs(lines, words.join('\n'), at);
    instructions.push({ keyword: name, first, last: at, head, open, keywordEnd: keyword[0].length });
    at += 1;
  }
  return { lines, escape, syntax, body, instructions };
}

/** The last line of the heredocs that the instruction opens; an opener without its end is no heredoc. */
function skipHeredocs(lines: readonly string[], instruction: string, from: number): number {
  let at = from;
  for (const [, dash, ...names] of instruction.matchAll(HEREDOC)) {
    const name = names.find((found) => found !== undefined);
    const end = lines.findIndex((line, index) => index > at && (dash ? line.replace(/^\t+/, '') : line).replace(/\r$/, '') === name);
    if (end === -1) return at;
    at = end;
  }
  return at;
}
