import { StepFailure } from '../../events/step.js';

export interface Procfile {
  /** type → command, in the file's order, `release` left out */
  readonly processes: Readonly<Record<string, string>>;
  readonly release: string | null;
}

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * `name: command` a line; comments start with `#` or `//`; Windows newlines are fine.
 * Names: `[a-z0-9-]`, 1 to 63 characters, no dash at the ends (they become host names in the app's network).
 * @param path how the file is called in messages
 * @throws StepFailure `detect.procfile` that names the line
 */
export function parseProcfile(text: string, path = 'Procfile'): Procfile {
  const processes = new Map<string, string>();
  const hint = `${path} has one process a line: "web: command"; names are lower case letters, digits and dashes, at most 63 characters`;
  for (const [index, raw] of text.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/).entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#') || line.startsWith('//')) continue;
    const fail = (why: string): never => { throw new StepFailure('detect.procfile', `${path} line ${index + 1}: ${why}: ${shown(raw)}`, hint); };
    const colon = line.indexOf(':');
    if (colon < 0) fail('no colon');
    const name = line.slice(0, colon).trimEnd();
    const command = line.slice(colon + 1).trim();
    if (!NAME.test(name)) fail('not a process name');
    if (command === '') fail('no command');
    if (command.includes('\0')) fail('a NUL character');
    if (processes.has(name)) fail('this process is there twice');
    processes.set(name, command);
  }
  if (processes.size === 0) throw new StepFailure('detect.procfile', `${path} names no process`, hint);
  const release = processes.get('release') ?? null;
  processes.delete('release');
  return { processes: Object.fromEntries(processes), release };
}

function shown(line: string): string {
  const text = JSON.stringify(line);
  return text.length > 120 ? `${text.slice(0, 116)}…"` : text;
}
