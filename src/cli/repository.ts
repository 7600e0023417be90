import type { GitService } from './protocol.js';

export type GitCommand = { readonly service: GitService; readonly repo: string } | { readonly refused: string; readonly hint: string };

const SERVICES: Readonly<Record<string, string>> = {
  'git-receive-pack': 'git-receive-pack', 'git-upload-pack': 'git-upload-pack', 'git-upload-archive': 'git-upload-archive',
};

/** The app meant by a path in a git address: `blog`, `/blog`, `~/blog`, `blog.git`, `/blog.git/`. */
export function appOf(path: string): string {
  return path.replace(/^~?\/+/, '').replace(/\/+$/, '').replace(/\.git$/, '');
}

/** Reads what `git push`, `git fetch` and friends ask an SSH server to run; null when the words are not git's. */
export function gitCommand(words: readonly string[]): GitCommand | null {
  const [first = '', second = ''] = words;
  const joined = first === 'git' ? `git-${second}` : first;
  const rest = words.slice(first === 'git' ? 2 : 1);
  const service = Object.hasOwn(SERVICES, joined) ? SERVICES[joined] : undefined;
  if (service === undefined) return null;
  if (service === 'git-upload-archive') return { refused: 'git archive --remote is not offered', hint: 'clone the app instead: git clone berth@<server>:<app>' };
  const [path] = rest;
  if (path === undefined || rest.length !== 1) return { refused: `${service} takes one repository`, hint: 'git remote add berth berth@<server>:<app>' };
  const repo = appOf(path);
  if (repo === '' || repo.startsWith('-')) return { refused: `"${path}" names no app`, hint: 'git remote add berth berth@<server>:<app>' };
  return { service: service as GitService, repo };
}

/** `version=2` and the like; anything else is dropped, since it would land in git's environment. */
export function gitProtocol(value: string | undefined): string | null {
  return value !== undefined && /^version=[0-9](:[a-z0-9=.-]{1,64}){0,4}$/.test(value) ? value : null;
}
