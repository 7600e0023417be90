import { StepFailure } from '../../../events/step.js';
import { BUILDPACKS } from '../buildpacks.js';

/** Who named a buildpack. The last three stand in the repository: whoever may push wrote them. */
export const SOURCES = { envFile: 'BUILDPACK_URL in .env', config: 'BUILDPACK_URL', settings: 'buildpacks:set', file: '.buildpacks', appJson: 'app.json' } as const;
export type Source = (typeof SOURCES)[keyof typeof SOURCES];
const REPOSITORY: readonly Source[] = [SOURCES.envFile, SOURCES.file, SOURCES.appJson];

/** One buildpack as it was named. */
export type BuildpackRef =
  /** one of ours: `python` */
  | { readonly kind: 'own'; readonly name: string }
  /** `ref`: branch, tag or commit; null = the remote's default branch */
  | { readonly kind: 'git'; readonly url: string; readonly ref: string | null }
  /** tar, tar.gz or zip over https */
  | { readonly kind: 'archive'; readonly url: string }
  /** on this machine: a folder, a git repository or an archive */
  | { readonly kind: 'local'; readonly path: string; readonly ref: string | null }
  /** one that an installed plugin brings */
  | { readonly kind: 'plugin'; readonly plugin: string; readonly name: string };

/** What Heroku calls some languages → what ours are called. */
const HEROKU_NAMES: Readonly<Record<string, string>> = { nodejs: 'node', gradle: 'java' };
/** Short names that lead to one repository each. Others of the form owner/name are a guess that nobody should deploy on. */
const KNOWN: Readonly<Record<string, string>> = {
  'heroku-community/apt': 'heroku-buildpack-apt', 'heroku-community/inline': 'heroku-buildpack-inline', 'heroku-community/null': 'null-buildpack', 'heroku-community/multi-procfile': 'heroku-buildpack-multi-procfile',
  'heroku-community/nginx': 'heroku-buildpack-nginx', 'heroku-community/static': 'heroku-buildpack-static', 'heroku-community/locale': 'heroku-buildpack-locale', 'heroku-community/awscli': 'heroku-buildpack-awscli', 'heroku-community/cli': 'heroku-buildpack-cli',
  'heroku/pgbouncer': 'heroku-buildpack-pgbouncer', 'heroku/metrics': 'heroku-buildpack-metrics', 'heroku/google-chrome': 'heroku-buildpack-google-chrome', 'heroku/chrome-for-testing': 'heroku-buildpack-chrome-for-testing',
};
const FORMS = 'a git URL (https://host/path[#branch, tag or commit]), the https URL of a .tgz, .tar.gz, .tar or .zip, or the name of one of our own';
const ARCHIVE = /\.(?:tgz|tar\.gz|tar|zip)$/i;

/** Names under which our own buildpacks are known. */
export const ownNames = (): string[] => BUILDPACKS.map((builder) => builder.name);

function ownOf(word: string, names: readonly string[]): string | null {
  const name = word.replace(/^heroku\//, '');
  if (names.includes(name)) return name;
  const ours = Object.hasOwn(HEROKU_NAMES, name) ? HEROKU_NAMES[name]! : null;
  return ours !== null && names.includes(ours) ? ours : null;
}

/**
 * Reads a buildpack's name: `python`, `heroku/python`, `https://…[#ref]`, `ssh://…`, `git://…`, `user@host:path`, `https://….tgz`,
 * `plugin:<plugin>/<name>`, `file:///…` and `/…`. The last two name something on this machine; a repository may not, for whoever pushes it could read what is there.
 * @throws StepFailure `detect.buildpack-url`
 */
export function parseReference(text: string, from: Source, own: readonly string[] = ownNames()): BuildpackRef {
  const fail = (why: string, hint = FORMS): never => { throw new StepFailure('detect.buildpack-url', `${from}: ${why}: ${JSON.stringify(shown(text)).slice(0, 200)}`, hint); };
  if (text === '' || /[\0-\x20\x7f]/.test(text) || text.length > 2000) fail('not a buildpack');
  if (/^(?:[a-z0-9-]+|heroku\/[a-z0-9-]+)$/.test(text) || Object.hasOwn(KNOWN, text)) {
    const name = ownOf(text, own);
    if (name !== null) return { kind: 'own', name };
    if (Object.hasOwn(KNOWN, text)) return { kind: 'git', url: `https://github.com/heroku/${KNOWN[text]}`, ref: null };
    const there = text.startsWith('heroku/') ? `, or Heroku's by its address: https://github.com/heroku/heroku-buildpack-${text.slice(7)}` : '';
    return fail('there is no buildpack of ours with this name', `ours are ${own.join(', ')}; name another by its address${there}`);
  }
  const brought = /^plugin:([a-z][a-z0-9-]{0,39})\/([a-z][a-z0-9-]{0,39})$/.exec(text);
  if (brought) return { kind: 'plugin', plugin: brought[1]!, name: brought[2]! };
  if (text.startsWith('plugin:')) return fail('not a buildpack of a plugin', 'plugin:<plugin>/<name>; see: berth plugin:info <plugin>');
  if (/^urn:cnb:|^docker:\/\/|^cnb:/.test(text)) fail('this is a Cloud Native Buildpack, not one of the classic API');
  if (/^[A-Za-z0-9][\w.-]*\/[\w.-]+$/.test(text)) {
    const [owner, name] = text.split('/') as [string, string];
    return fail('a short name that is not known here', `give its address, for example https://github.com/${owner}/heroku-buildpack-${name}`);
  }

  const hash = text.indexOf('#');
  const url = hash < 0 ? text : text.slice(0, hash);
  const ref = hash < 0 ? null : text.slice(hash + 1) || null;
  if (ref !== null && (!/^[A-Za-z0-9][\w./+-]*$/.test(ref) || ref.includes('..'))) fail('not a branch, tag or commit after #');
  const local = /^(?:file:\/\/)?(\/(?!\/).*)$/.exec(url);
  if (local) {
    if (REPOSITORY.includes(from)) fail('a buildpack on the server can\'t be named by a repository', 'buildpacks:set <app> <folder> names it');
    let path: string;
    try { path = url.startsWith('file:') ? decodeURIComponent(local[1]!) : local[1]!; } catch { return fail('not a file: URL'); }
    if (path.includes('\0') || path.split('/').includes('..')) fail('not the path of a folder');
    return { kind: 'local', path: path.replace(/(?<=.)\/+$/, ''), ref };
  }
  if (/^[A-Za-z0-9_][\w.-]*@[A-Za-z0-9][\w.-]*:(?!:)[^-\s/][^\s]*$|^[A-Za-z0-9_][\w.-]*@[A-Za-z0-9][\w.-]*:\/[^\s]*$/.test(url)) {
    if (REPOSITORY.includes(from) && ownHost(/@([^:]+):/.exec(url)![1]!)) fail('this address is the server itself');
    return { kind: 'git', url, ref };
  }
  if (!/^(?:https?|git|ssh):\/\/[^/]/.test(url)) fail('not the address of a buildpack');
  let parsed: URL;
  try { parsed = new URL(url); } catch { return fail('not a URL'); }
  if (parsed.protocol === 'http:') fail('http is not protected, use https');
  if (parsed.host === '' || parsed.hostname.startsWith('-') || parsed.username.startsWith('-')) fail('no host');
  // the plan is recorded and shown: what is in it can't be sealed
  if (parsed.password !== '' || parsed.protocol === 'https:' && parsed.username !== '') fail('a URL with a password or token is not taken (it would be recorded)');
  if (REPOSITORY.includes(from) && ownHost(parsed.hostname)) fail('this address is the server itself');
  if (parsed.protocol === 'https:' && ARCHIVE.test(parsed.pathname)) {
    if (ref !== null) fail('an archive has no branch: nothing may stand after #');
    return { kind: 'archive', url };
  }
  if (parsed.protocol === 'https:' && /\.(?:tbz2?|tar\.(?:bz2?|xz|zst)|txz|rar|7z)$/i.test(parsed.pathname)) fail('an archive of this kind can\'t be read');
  return { kind: 'git', url, ref };
}

/** Names and addresses of the machine itself and of its neighbours on the link: what answers there trusts them more than it should. */
function ownHost(host: string): boolean {
  const name = host.toLowerCase().replace(/^\[|\]$/g, '').replace(/\.$/, '');
  return name === 'localhost' || name.endsWith('.localhost') || /^(?:127\.|0\.|169\.254\.)/.test(name) || /^(?:::1?|fe80:.*|::ffff:.*)$/.test(name);
}

/** The reference's one spelling; read again by `parseReference`. */
export function textOf(reference: BuildpackRef): string {
  const mark = 'ref' in reference && reference.ref !== null ? `#${reference.ref}` : '';
  switch (reference.kind) {
    case 'own': return reference.name;
    case 'plugin': return `plugin:${reference.plugin}/${reference.name}`;
    case 'local': return `file://${encodeURI(reference.path).replaceAll('#', '%23').replaceAll('?', '%3F')}${mark}`;
    default: return `${reference.url}${mark}`;
  }
}

/** A URL for people: without a password in it. */
export function shown(url: string): string {
  return url.replace(/^([a-z]+:\/\/)[^/@]*@/, (all, start: string) => (start === 'ssh://' && !all.includes(':', start.length) ? all : `${start}***@`));
}
