/** A submodule's address, or why it is not fetched. */
export type SubmoduleUrl = { readonly ok: true; readonly protocol: 'https' | 'ssh' | 'file' } | { readonly ok: false; readonly why: string };

const HOST = '[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?';
const USER = '[A-Za-z0-9_][A-Za-z0-9._-]{0,63}';
const HTTPS = new RegExp(`^https://(?:[^@/\\s]+@)?${HOST}(?::\\d{1,5})?/\\S+$`);
const SSH = new RegExp(`^ssh://(?:${USER}@)?${HOST}(?::\\d{1,5})?/[^\\s-]\\S*$`);
const SCP = new RegExp(`^${USER}@${HOST}:[^\\s:-]\\S*$`);

/** Only what is known to be harmless passes; `.gitmodules` is text that anybody may have written. */
export function readSubmoduleUrl(url: string, allowFile: boolean): SubmoduleUrl {
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u0020\u007f]/.test(url)) return { ok: false, why: 'its address holds blanks or control characters' };
  if (HTTPS.test(url)) return { ok: true, protocol: 'https' };
  if (SSH.test(url) || SCP.test(url)) return { ok: true, protocol: 'ssh' };
  if (allowFile && /^file:\/\/\/[^\s]+$/.test(url)) return { ok: true, protocol: 'file' };
  if (/^\.{1,2}(\/|$)/.test(url)) return { ok: false, why: 'its address is relative to a server that Berth does not know' };
  if (/^(http|git|ftp):/.test(url)) return { ok: false, why: 'its address is not encrypted' };
  return { ok: false, why: 'only https and ssh addresses are fetched' };
}

/** The address without a password in it. */
export function withoutPassword(url: string): string {
  return url.replace(/^([a-z]+:\/\/)[^@/]*@/, (_all, start: string) => (start === 'ssh://' ? _all : `${start}***@`));
}

/** `../other.git` beside the repository that it was found in; any other address, or without a base, as it is. */
export function resolveSubmodule(url: string, base: string | null): string {
  if (base === null || !/^\.{1,2}(\/|$)/.test(url)) return url;
  const [, start = '', path = ''] = /^([a-z]+:\/\/[^/]+\/|[^/]+:)([^]*)$/.exec(base.replace(/\/+$/, '')) ?? [];
  const parts = path.split('/');
  for (const part of url.split('/')) {
    if (part === '..') {
      if (parts.length === 0) return url;
      parts.pop();
    } else if (part !== '.' && part !== '') parts.push(part);
  }
  return start === '' || parts.length === 0 ? url : start + parts.join('/');
}
