import { StepFailure } from '../../../events/step.js';
import type { Project, Planned } from '../builder.port.js';
import { buildArgs } from '../dockerfile.builder.js';

export interface BuildpackSource {
  /** without credentials in messages: see `shown` */
  readonly url: string;
  /** branch, tag or commit; null = the remote's default branch */
  readonly ref: string | null;
  /** who named it */
  readonly from: 'config' | '.env';
}

/** `BUILDPACK_URL=…` or `export BUILDPACK_URL=…` in a `.env`; the last one counts, an empty one is none. */
export function buildpackFromEnv(text: string): string | null {
  let found: string | null = null;
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*(?:export\s+)?BUILDPACK_URL\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s#]*))\s*(?:#.*)?$/.exec(line);
    if (match) found = match[1] ?? match[2] ?? match[3] ?? '';
  }
  return found === '' ? null : found;
}

/**
 * Splits and checks a buildpack's URL: `https://…`, `ssh://…`, `git://…`, `user@host:path`, `file:///…`, each with `#ref`.
 * A repository may not name a `file:` URL: whoever may push could read the server's own repositories.
 * @throws StepFailure `detect.buildpack-url`
 */
export function parseBuildpackUrl(text: string, from: BuildpackSource['from']): BuildpackSource {
  const fail = (why: string): never => { throw new StepFailure('detect.buildpack-url', `BUILDPACK_URL (${from}): ${why}: ${JSON.stringify(shown(text)).slice(0, 200)}`, 'a git URL: https://host/path[#branch, tag or commit]'); };
  if (/[\0-\x20\x7f]/.test(text) || text.length > 2000) fail('not a URL');
  const hash = text.indexOf('#');
  const url = hash < 0 ? text : text.slice(0, hash);
  const ref = hash < 0 ? null : text.slice(hash + 1) || null;
  if (ref !== null && (!/^[A-Za-z0-9][\w./+-]*$/.test(ref) || ref.includes('..'))) fail('not a branch, tag or commit after #');
  if (/^(?:(?:https?|git|ssh):\/\/[^/]|file:\/\/)/.test(url)) {
    let parsed: URL;
    try { parsed = new URL(url); } catch { return fail('not a URL'); }
    if (parsed.protocol === 'http:') fail('http is not protected, use https');
    if (parsed.protocol === 'file:' ? parsed.host !== '' : parsed.host === '' || parsed.hostname.startsWith('-') || parsed.username.startsWith('-')) fail('no host');
    // the plan is recorded and shown: what is in it can't be sealed
    if (parsed.password !== '' || parsed.protocol === 'https:' && parsed.username !== '') fail('a URL with a password or token is not taken (it would be recorded)');
    if (parsed.protocol === 'file:' && from === '.env') fail('a file: URL can only be set by config:set');
  } else if (!/^[A-Za-z0-9_][\w.-]*@[A-Za-z0-9][\w.-]*:(?!:)[^-\s][^\s]*$/.test(url)) fail('not a git URL');
  return { url, ref, from };
}

/** A URL for people: without a password in it. */
export function shown(url: string): string {
  return url.replace(/^([a-z]+:\/\/)[^/@]*@/, '$1***@');
}

/** The third-party buildpack that an app names, or null. The repository's `.env` wins over the config. */
export function buildpackOf(project: Project): BuildpackSource | null {
  const own = buildpackFromEnv(project.tree.text('.env') ?? '');
  if (own !== null) return parseBuildpackUrl(own, '.env');
  const config = project.settings['BUILDPACK_URL']?.trim();
  return config ? parseBuildpackUrl(config, 'config') : null;
}

/** The plan for a buildpack that decides for itself: its process types are known once it has run. */
export function planClassic(project: Project, source: BuildpackSource): Planned {
  const ref = source.ref === null ? '' : `#${source.ref}`;
  return {
    plan: {
      builder: 'classic-buildpack', buildpack: `${source.url}${ref}`, summary: `buildpack ${shown(source.url)}${ref} (${source.from === 'config' ? 'BUILDPACK_URL' : '.env'})`,
      dockerfilePath: null, dockerfile: null, buildArgs: buildArgs(project),
      processTypes: project.procfile?.processes ?? {}, releaseCommand: project.procfile?.release ?? null, check: project.appJson.check, port: 5000,
    },
    details: [`BUILDPACK_URL from ${source.from === 'config' ? "the app's config" : "the repository's .env"}: ${shown(source.url)}${ref}`, project.procfile === null ? 'no Procfile: process types come from the buildpack' : `Procfile: ${Object.keys(project.procfile.processes).join(', ')}`],
    warnings: [],
  };
}
