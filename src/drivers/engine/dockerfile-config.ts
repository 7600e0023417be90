import { parseDockerfile } from './dockerfile-lines.js';

/** id of the build's secret with what `shellExports` makes */
export const CONFIG_SECRET = 'berth_config';

/**
 * Gives RUN lines of a Dockerfile of ours the config vars that its ARG lines name, as a file that the shell reads: values of arguments
 * stay in the image's history. An argument keeps its default. What is based on a stage has its arguments, too. Pure.
 * @param mark changes when the values do: a secret's content is not part of what a cached step is known by
 */
export function withConfig(text: string, names: readonly string[], mark: string): string {
  const { lines, instructions } = parseDockerfile(text);
  const file = `/run/berth/config.${mark}`;
  const seeing = new Set<string>();
  const gone = new Set<number>();
  const made = [...lines];
  let stage = '';
  for (const { keyword, first, keywordEnd } of instructions) {
    const rest = lines[first]!.slice(keywordEnd);
    if (keyword === 'FROM') {
      const [, from, as] = /^\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*$/i.exec(rest) ?? [];
      stage = as ?? `line ${first}`;
      if (from !== undefined && seeing.has(from)) seeing.add(stage);
    } else if (keyword === 'ARG') {
      const [, name, preset] = /^\s+(\w+)(=.*)?\s*$/.exec(rest) ?? [];
      if (name === undefined || !names.includes(name)) continue;
      seeing.add(stage);
      if (preset === undefined) gone.add(first);
    } else if (keyword === 'RUN' && seeing.has(stage)) {
      const [, flags, command] = /^((?:\s+--\S+)*)\s+(.*)$/.exec(rest)!;
      made[first] = `${lines[first]!.slice(0, keywordEnd)} --mount=type=secret,id=${CONFIG_SECRET},target=${file},mode=0444${flags} . ${file}; ${command}`;
    }
  }
  return made.filter((_, at) => !gone.has(at)).join('\n');
}

/** Takes what we put into RUN lines out of what the builder says of them. */
export const asWritten = (text: string): string => text.replaceAll(/ ?--mount=type=secret,id=berth_\S+/g, '').replaceAll(/\. \/run\/berth\/config\.\w+; /g, '').replace(/(type=cache.*) # [\w.-]+\/[\w.-]+$/, '$1');

/** A text for the shell's `.` */
export const shellExports = (values: Readonly<Record<string, string>>): string => Object.entries(values).map(([name, value]) => `export ${name}='${value.replaceAll("'", "'\\''")}'\n`).join('');
