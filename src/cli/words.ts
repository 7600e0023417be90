/** A command line that cannot be split; its message is for the person who typed it. */
export class WordsError extends Error {
  constructor(message: string, readonly hint: string | null = null) {
    super(message);
    this.name = 'WordsError';
  }
}

/** Longest command line that is looked at, in bytes. */
export const MAX_LINE = 128 * 1024;

/** Words that only mean something to a shell, which there is not. */
const OPERATORS = new Set([';', ';;', '&', '&&', '|', '||', '|&', '>', '>>', '<', '<<', '<<<', '2>', '2>>', '&>', '2>&1', '>&2', '1>&2']);

/**
 * Splits a command line by POSIX's rules for quotes and backslashes, and by nothing else: `$`, backticks, `;`, `*` and `~` are plain
 * characters. A word that is nothing but an unquoted shell operator is refused, because the person who typed it expected a shell.
 */
export function split(line: string): string[] {
  if (Buffer.byteLength(line) > MAX_LINE) throw new WordsError(`the command is longer than ${MAX_LINE / 1024} KiB`, 'pipe long values in on stdin');
  const words: string[] = [];
  let word: string | null = null;
  let quoted = false;
  const finish = (): void => {
    if (word === null) return;
    if (!quoted && OPERATORS.has(word)) {
      throw new WordsError(`"${word}" means nothing here: commands do not go through a shell`, `one command at a time; if the character itself is meant, quote it twice: "'${word}'"`);
    }
    words.push(word);
    word = null;
    quoted = false;
  };
  for (let at = 0; at < line.length; at += 1) {
    const char = line.charAt(at);
    if (char === '\0') throw new WordsError('the command holds a NUL byte');
    if (char === ' ' || char === '\t') {
      finish();
    } else if (char === '\n' || char === '\r') {
      throw new WordsError('the command holds a line break outside of quotes', 'one command at a time');
    } else if (char === '\\') {
      at += 1;
      if (at === line.length) throw new WordsError('the command ends in a backslash', 'write \\\\ for the character itself');
      const next = line.charAt(at);
      if (next === '\0') throw new WordsError('the command holds a NUL byte');
      if (next === '\n' || next === '\r') throw new WordsError('the command holds a line break outside of quotes', 'one command at a time');
      word = (word ?? '') + next;
      quoted = true;
    } else if (char === "'") {
      const end = line.indexOf("'", at + 1);
      if (end === -1) throw new WordsError("the command has a ' without its partner", 'a remote command loses one layer of quotes on your side: wrap it once more');
      const inside = line.slice(at + 1, end);
      if (inside.includes('\0')) throw new WordsError('the command holds a NUL byte');
      word = (word ?? '') + inside;
      quoted = true;
      at = end;
    } else if (char === '"') {
      const [inside, end] = doubleQuoted(line, at + 1);
      word = (word ?? '') + inside;
      quoted = true;
      at = end;
    } else {
      word = (word ?? '') + char;
    }
  }
  finish();
  return words;
}

/** What stands between double quotes, and where the closing one is. */
function doubleQuoted(line: string, from: number): [string, number] {
  let inside = '';
  for (let at = from; at < line.length; at += 1) {
    const char = line.charAt(at);
    if (char === '"') return [inside, at];
    if (char === '\0') throw new WordsError('the command holds a NUL byte');
    if (char === '\\' && at + 1 < line.length && '$`"\\\n'.includes(line.charAt(at + 1))) {
      at += 1;
      if (line.charAt(at) !== '\n') inside += line.charAt(at);
    } else {
      inside += char;
    }
  }
  throw new WordsError('the command has a " without its partner', 'a remote command loses one layer of quotes on your side: wrap it once more');
}

/** One command line that `split` (or a POSIX shell) takes apart into exactly these words. */
export function quote(words: readonly string[]): string {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ');
}
