/** words that the shell itself carries out: `exec` cannot run them */
const BUILTIN = new Set(['.', ':', '!', 'alias', 'bg', 'break', 'case', 'cd', 'command', 'continue', 'eval', 'exec', 'exit', 'export', 'fg', 'for', 'function', 'hash', 'if', 'jobs', 'let', 'local', 'read', 'readonly', 'return', 'set', 'shift', 'source', 'time', 'times', 'trap', 'type', 'ulimit', 'umask', 'unset', 'until', 'wait', 'while', '{', '[[']);

/**
 * A Procfile's line as the container's command: the container's own shell expands `$PORT`. A simple command replaces
 * the shell, so that it hears TERM itself; anything with `;`, `|`, `&`, or an assignment in front stays the shell's child.
 */
export function shellCommand(line: string): string[] {
  const simple = !/[;|&\n(){}`]/.test(line.replaceAll(/\$\{[^}]*\}/g, '')) && !/^\s*\w+=/.test(line);
  const word = /^\s*([^\s"'$]+)(?:\s|$)/.exec(line)?.[1];
  return ['/bin/sh', '-c', simple && word !== undefined && !BUILTIN.has(word) ? `exec ${line.trim()}` : line];
}
