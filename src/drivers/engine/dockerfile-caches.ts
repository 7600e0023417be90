import { parseDockerfile } from './dockerfile-lines.js';

/**
 * Gives every `RUN --mount=type=cache` an id of its owner: BuildKit shares caches by id over all builds of a machine, so one app could read
 * and poison another's. Twice is the same as once. Pure.
 * @param owner letters, digits, dots and dashes: `<app>` or `<app>.<generation>`
 * @param mark put behind the commands of RUN lines that have a cache, as a comment: the engine tells it with the cache, so that it can be found again
 */
export function withOwnCaches(text: string, owner: string, mark: string | null = null): string {
  const { lines, escape, instructions } = parseDockerfile(text);
  const made = [...lines];
  for (const { keyword, first, last, head, open, keywordEnd } of instructions) {
    if (keyword !== 'RUN') continue;
    let found = false;
    let command = '';
    for (let at = first; at <= head; at += 1) {
      const line = made[at]!;
      let from = at === first ? keywordEnd : 0;
      let rest = line.slice(from);
      let done = line.slice(0, from);
      for (let flag = /^\s*--\S+/.exec(rest); flag !== null; flag = /^\s*--\S+/.exec(rest)) {
        const cache = /^\s*--mount=(?=(?:\S*,)?type=cache(?:,|$))/.test(flag[0]);
        found ||= cache;
        done += cache ? owned(flag[0], owner) : flag[0];
        from = flag[0].length;
        rest = rest.slice(from);
      }
      made[at] = done + rest;
      // the command begins here, unless only a continuation is left of the line
      command = rest.trim();
      if (command !== escape) break;
    }
    // a heredoc's end, the JSON form and an instruction that is cut off take no comment
    if (found && mark !== null && head === last && !open && !command.startsWith('[')) made[last] = made[last]!.replace(/\r?$/, (end) => (made[last]!.includes(` # ${mark}`) ? end : ` # ${mark}${end}`));
  }
  return made.join('\n');
}

function owned(flag: string, owner: string): string {
  const [, start, options] = /^(\s*--mount=)(.*)$/.exec(flag)!;
  const pairs = options!.split(',');
  const value = (...names: string[]): string | undefined => pairs.find((pair) => names.some((name) => pair.startsWith(`${name}=`)))?.replace(/^[^=]*=/, '');
  const id = value('id') ?? value('target', 'dst', 'destination') ?? '';
  const app = owner.split('.')[0]!;
  const own = id.startsWith(`${owner}-`) ? id : `${owner}-${id.startsWith(`${app}-`) ? id.slice(app.length + 1) : id.replaceAll('/', '_')}`;
  return `${start}${[...pairs.filter((pair) => !pair.startsWith('id=')), `id=${own}`].join(',')}`;
}
