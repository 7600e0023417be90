import { PATHS } from './script.js';

/** What the buildpacks in a container left for the one of ours that comes after them. */
export interface Left {
  /** paths that were not in the source; nothing below one that is named */
  readonly added: readonly string[];
  /** what their `export` files set */
  readonly env: Readonly<Record<string, string>>;
}

const SHELL = new Set(['_', 'SHLVL', 'PWD', 'OLDPWD', 'HOME']);
/** COPY splits, substitutes and matches patterns: only plain names go there. Others come with the rest of the tree. */
const PLAIN = /^[A-Za-z0-9._@+=~-][A-Za-z0-9._@+=~/-]*$/;
/** more would make more layers than an image may have */
const MOST = 30;

/** `env -0` → name → value. */
export function readEnv(text: string): Map<string, string> {
  return new Map(text.split('\0').flatMap((line) => { const at = line.indexOf('='); return at < 1 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const]; }));
}

/**
 * What changed in the environment, with the paths that it will have in the image.
 * @param secret whether a text holds something that must not be written into a Dockerfile
 */
export function exported(before: string, after: string, home: string, secret: (text: string) => boolean): { readonly env: Readonly<Record<string, string>>; readonly left: readonly string[] } {
  const old = readEnv(before);
  const env: Record<string, string> = {};
  const left: string[] = [];
  for (const [name, raw] of readEnv(after)) {
    if (SHELL.has(name) || old.get(name) === raw) continue;
    const value = raw.replaceAll(new RegExp(`${PATHS.build}(?=[/:;,"' ]|$)`, 'g'), home);
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || /[\0\r\n]/.test(value) || value.length > 16_384 || secret(value)) left.push(name);
    else env[name] = value;
  }
  return { env, left };
}

/**
 * A generated Dockerfile whose stages see what was left: files at their places, the environment as build arguments, which no image
 * keeps. The last stage takes the whole tree by itself, or gets the files, too. Where they were made is a link: some say so inside.
 */
export function composed(dockerfile: string, { added, env }: Left, home: string, owner: string): string {
  const lines = dockerfile.split('\n');
  const quoted = (value: string): string => `"${value.replace(/["\\$]/g, '\\$&')}"`;
  const args = Object.entries(env).filter(([name]) => name !== 'PATH').map(([name, value]) => `ARG ${name}=${quoted(value)}`);
  // images have a PATH already, which no argument replaces
  const path = env['PATH'] === undefined ? [] : [`ENV PATH=${quoted(env['PATH'])}`];
  const plain = added.filter((path) => PLAIN.test(path));
  const paths = plain.length > MOST ? [] : plain;
  const copies = (chown: string): string[] => paths.map((path) => `COPY ${chown}${JSON.stringify([path, `${home}/${path}`])}`);
  const last = lines.findLastIndex((line) => /^FROM\s/i.test(line));
  const whole = lines.slice(last).some((line) => /^COPY\s+(?:--\S+\s+)*\.\/?\s/i.test(line));
  const stages = new Set<string>();
  return lines.flatMap((line, at) => {
    const from = /^FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*$/i.exec(line);
    if (!from) return [line];
    const outside = !stages.has(from[1]!);
    if (from[2]) stages.add(from[2]);
    if (at === last) return [line, ...args, ...(whole ? [] : copies(`--chown=${owner} `))];
    return [line, ...args, ...(outside ? [...path, ...copies(''), ...(paths.length > 0 ? [`RUN ln -s ${home} ${PATHS.build}`] : [])] : [])];
  }).join('\n');
}
