import { parseDockerfile } from './dockerfile-lines.js';

export interface Refusal { /** of the file, from 1 */ readonly line: number; readonly what: string; readonly hint: string }

/** a URL that leads back to the server: ADD is carried out by the engine, on the server's own network */
const OURSELVES = /^(?:https?|git|ssh):\/\/(?:[^/@\s]*@)?(?:localhost\.?|127(?:\.\d+){1,3}|0(?:\.0){0,3}|\[(?:::1|::|::ffff:127\.[\d.]+)\])(?::\d+)?(?:\/|$)/i;

/**
 * What a Dockerfile asks of the server that no build gets. The engine refuses the flags as well (nobody grants it their entitlements), but in
 * words that help nobody. Pure.
 */
export function refusedIn(text: string): Refusal | null {
  const { lines, instructions } = parseDockerfile(text);
  for (const { keyword, first, head, keywordEnd } of instructions) {
    const words = [lines[first]!.slice(keywordEnd), ...lines.slice(first + 1, head + 1)].join(' ').replaceAll(/[\\`]\s/g, ' ').trim().split(/\s+/);
    const line = first + 1;
    if (keyword === 'RUN') {
      for (const flag of words.slice(0, [...words, ''].findIndex((word) => !word.startsWith('--')))) {
        const [name, value = ''] = flag.replaceAll(/["']/g, '').split('=');
        if (name === '--network' && !/^(?:none|default)$/.test(value)) return { line, what: `RUN ${flag} is not allowed: a build is not on the server's network`, hint: 'leave it out; a build reaches the internet by its own network' };
        if (name === '--security' && value !== 'sandbox') return { line, what: `RUN ${flag} is not allowed: a build has no more rights than others`, hint: 'leave it out' };
        if (name === '--device') return { line, what: `RUN ${flag} is not allowed: a build gets no device of the server`, hint: 'leave it out' };
      }
    } else if (keyword === 'ADD') {
      const source = words.map((word) => word.replace(/^\[?"/, '').replace(/"[\],]*$/, '')).find((word) => OURSELVES.test(word));
      if (source !== undefined) return { line, what: `ADD ${source} asks the server itself`, hint: 'ADD a file of the repository, or one that the internet has' };
    }
  }
  return null;
}
