import { isIP } from 'node:net';
import { StepFailure } from '../../events/step.js';
import type { RouterSettings } from '../../events/types/deploy.events.js';
import { PAGE_MAX } from './router.plan.js';
import type { RouterFixed, RouterRule } from './router.port.js';

/** What an app's settings are for the router. `left`: redirects from hosts that are not the app's, which are not carried out. */
export interface Edge { readonly rules?: readonly RouterRule[]; readonly fixed?: RouterFixed; readonly left: readonly string[] }

const TARGET = /^(?:https?:\/\/)?[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?(?::\d{1,5})?$/;
/** `www.example.com`, `https://example.com:8443`. */
export const isTarget = (to: string): boolean => TARGET.test(to);
export const REDIRECT_CODES: readonly number[] = [301, 302, 307, 308];

const refuse = (what: string): never => { throw new StepFailure('route.settings', what, 'see what the plugins answered: berth trace', 'user'); };

/** Pure. @throws StepFailure `route.settings` for what cannot be carried out */
export function edgeOf({ maintenance, redirects = [], auth, headers }: RouterSettings, hosts: readonly string[]): Edge {
  const own = redirects.filter(({ from }) => hosts.includes(from) && !from.startsWith('*'));
  const rules: RouterRule[] = own.map(({ from, to, code }) => {
    if (!REDIRECT_CODES.includes(code)) refuse(`a redirect from ${from} has code ${code}, not one of ${REDIRECT_CODES.join(', ')}`);
    if (!isTarget(to)) refuse(`a redirect from ${from} goes to ${JSON.stringify(to.slice(0, 100))}, which is no host`);
    return { table: 'redirects', key: from, value: `${code}|${/^https?:/.test(to) ? to : `http://${to}`}` };
  });
  if (maintenance) rules.push({ table: 'maintenance', key: '', value: 'on' });
  if (auth) {
    rules.push({ table: 'auth', key: '', value: 'on' });
    for (const { name, hash } of auth.users) if (typeof hash === 'string') rules.push({ table: 'users', key: name, value: hash });
    const prefixes = new Map(auth.allow.flatMap((cidr) => prefixesOf(cidr).map((prefix) => [prefix, withMask(cidr)] as const)));
    for (const [key, value] of prefixes) rules.push({ table: 'allow', key, value });
  }
  const page = maintenance?.page ?? null;
  if (page !== null && (page === '' || Buffer.byteLength(page) > PAGE_MAX)) refuse(`the maintenance page has ${Buffer.byteLength(page)} bytes, not 1 to ${PAGE_MAX}`);
  const fixed = { ...(page !== null && { page }), ...(headers && Object.keys(headers).length > 0 && { headers }) };
  const left = redirects.filter((redirect) => !own.includes(redirect)).map(({ from }) => from);
  return { left, ...(rules.length > 0 && { rules: [...new Map(rules.map((rule) => [`${rule.table} ${rule.key}`, rule])).values()] }), ...(Object.keys(fixed).length > 0 && { fixed }) };
}

const withMask = (cidr: string): string => (cidr.includes('/') ? cidr.toLowerCase() : `${cidr.toLowerCase()}/${cidr.includes(':') ? 128 : 32}`);

/** An address and how many of its bits count; null when it is none. */
export function readCidr(text: string): { readonly family: 4 | 6; readonly bits: bigint; readonly length: number } | null {
  const match = /^([0-9a-fA-F.:]+)(?:\/(\d{1,3}))?$/.exec(text);
  const family = match ? isIP(match[1]!) : 0;
  if (!match || (family !== 4 && family !== 6)) return null;
  const most = family === 4 ? 32 : 128;
  const length = match[2] === undefined ? most : Number(match[2]);
  return length > most ? null : { family, length, bits: family === 4 ? v4(match[1]!) : v6(match[1]!) };
}

const v4 = (text: string): bigint => text.split('.').reduce((sum, part) => sum * 256n + BigInt(Number(part)), 0n);
function v6(text: string): bigint {
  const plain = text.replace(/(\d+\.\d+\.\d+\.\d+)$/, (ip) => { const bits = v4(ip); return `${(bits >> 16n).toString(16)}:${(bits & 0xffffn).toString(16)}`; });
  const [head = '', tail] = plain.split('::') as [string, string?];
  const words = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const all = tail === undefined ? words(head) : [...words(head), ...Array.from({ length: 8 - words(head).length - words(tail).length }, () => '0'), ...words(tail)];
  return all.reduce((sum, word) => sum * 65_536n + BigInt(Number.parseInt(word, 16)), 0n);
}

/** The hexadecimal beginnings of all addresses of a net, 1 to 8 of them: `10.0.0.0/7` → `4/0A`, `4/0B`. */
export function prefixesOf(cidr: string): string[] {
  const net = readCidr(cidr);
  if (net === null) return refuse(`${JSON.stringify(cidr.slice(0, 60))} is no address or net`);
  const { family, bits, length } = net;
  const width = family === 4 ? 32 : 128;
  const digits = Math.ceil(length / 4);
  const spare = BigInt(digits * 4 - length);
  const first = (bits >> BigInt(width - length)) << spare;
  return Array.from({ length: 1 << Number(spare) }, (_, at) => `${family}/${digits === 0 ? '' : (first + BigInt(at)).toString(16).toUpperCase().padStart(digits, '0')}`);
}

/** With the hashes of passwords in clear; who has one that cannot be opened any more cannot log in. */
export async function openSettings(settings: RouterSettings, open: (hash: Exclude<Hash, string>) => Promise<string | null>): Promise<RouterSettings> {
  if (!settings.auth) return settings;
  const users = await Promise.all(settings.auth.users.map(async ({ name, hash }) => ({ name, hash: typeof hash === 'string' ? hash : await open(hash) })));
  return { ...settings, auth: { ...settings.auth, users: users.flatMap(({ name, hash }) => (hash === null ? [] : [{ name, hash }])) } };
}
type Hash = NonNullable<RouterSettings['auth']>['users'][number]['hash'];
