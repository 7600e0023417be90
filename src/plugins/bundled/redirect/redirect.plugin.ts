import type { BundledPlugin } from '../../contract/define.js';
import { APP, appOf, given, manifestOf, refused, remembered, word } from '../kit.js';

/** host → where to */
type Redirects = Readonly<Record<string, { readonly to: string; readonly code: number }>>;
const CODES = [301, 302, 307, 308];
const HOST = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/;
const TARGET = /^(?:https?:\/\/)?([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?::(\d{1,5}))?$/;

const of = (settings: Readonly<Record<string, string>>): Redirects => remembered<Redirects>(settings, 'redirects', {});
const hostOf = (to: string): string => TARGET.exec(to)?.[1] ?? '';

/** Whether a redirect leads, by others, back to where it began. */
function loops(redirects: Redirects, from: string): boolean {
  for (let at = from, steps = 0; Object.hasOwn(redirects, at); steps += 1) {
    at = hostOf(redirects[at]!.to);
    if (at === from || steps > 100) return true;
  }
  return false;
}

/** Setting of an app: `redirects`, as JSON. */
export const redirect: BundledPlugin = {
  manifest: manifestOf('redirect', 'Redirects from one host to another', {
    commands: [
      { name: 'redirect', summary: 'List the redirects of an app', example: 'berth redirect blog', arguments: [APP], reads: true },
      { name: 'redirect:set', summary: 'Redirect one of an app\'s hosts to another host; path and query are kept', example: 'berth redirect:set blog www.example.com example.com 301', arguments: [APP, word('from', 'a domain of the app'), word('to', 'a host; with https:// and a port where they matter'), word('code', '301 (for ever), 302, 307 or 308; 301 unless said', true)] },
      { name: 'redirect:unset', summary: 'Redirect a host no more', example: 'berth redirect:unset blog www.example.com', arguments: [APP, word('from', 'the host that is redirected')] },
    ],
    hooks: [{ step: 'route', when: 'before' }],
  }),
  handlers: {
    commands: {
      redirect: (call) => {
        const { name, settings } = appOf(call);
        const all = Object.entries(of(settings)).map(([from, { to, code }]) => ({ from, to, code }));
        const rows = [['SOURCE', 'DESTINATION', 'CODE'], ...all.map(({ from, to, code }) => [from, to, String(code)])];
        const width = (column: number): number => Math.max(...rows.map((row) => row[column]!.length)) + 2;
        return { say: [`=====> ${name} redirects`, ...(all.length === 0 ? [`       none: berth redirect:set ${name} www.example.com example.com`] : rows.map(([a, b, c]) => `       ${a!.padEnd(width(0))}${b!.padEnd(width(1))}${c}`))], data: all };
      },
      'redirect:set': (call) => {
        const { name, settings } = appOf(call);
        const from = given(call, 'from').toLowerCase().replace(/\.$/, '');
        const to = given(call, 'to').toLowerCase().replace(/[./]$/, '');
        const code = Number(given(call, 'code') || 301);
        if (!HOST.test(from)) return refused(`'${from.slice(0, 60)}' is not a host that can be redirected`, 'a host without *, scheme, port and path: www.example.com');
        const [, host, port] = TARGET.exec(to) ?? [];
        if (host === undefined || !HOST.test(host) || Number(port ?? 1) < 1 || Number(port ?? 1) > 65_535) return refused(`'${to.slice(0, 60)}' is not a host to redirect to`, 'a host, with https:// and a port where they matter: example.com or https://example.com:8443; path and query are kept');
        if (!CODES.includes(code)) return refused(`'${given(call, 'code').slice(0, 20)}' is not a code of a redirect`, CODES.join(', '));
        const before = of(settings);
        const redirects = { ...before, [from]: { to, code } };
        if (loops(redirects, from)) return refused(`${from} would be redirected to itself`, from === host ? 'name another host' : `see: berth redirect ${name}`);
        if (Object.keys(redirects).length > 200) return refused('There are 200 redirects already', `see: berth redirect ${name}`);
        return { say: [`-----> Redirecting ${from} to ${to} (${code})`], settings: { redirects: JSON.stringify(redirects) }, deploy: 'domains' };
      },
      'redirect:unset': (call) => {
        const { name, settings } = appOf(call);
        const from = given(call, 'from').toLowerCase().replace(/\.$/, '');
        const { [from]: _, ...rest } = of(settings);
        if (!Object.hasOwn(of(settings), from)) return refused(`${from.slice(0, 60)} is not redirected`, `see: berth redirect ${name}`);
        return { say: [`-----> ${from} is not redirected any more`], settings: { redirects: Object.keys(rest).length > 0 ? JSON.stringify(rest) : null }, deploy: 'domains' };
      },
    },
    hooks: {
      'before route': ({ app: { settings } }) => {
        const redirects = Object.entries(of(settings)).map(([from, { to, code }]) => ({ from, to, code }));
        return redirects.length > 0 ? { add: { router: { redirects } } } : {};
      },
    },
  },
};
