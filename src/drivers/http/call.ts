import { lookup as resolve, type LookupAddress } from 'node:dns';
import { request as plain, type IncomingMessage } from 'node:http';
import { request as secure } from 'node:https';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** Nobody else's business: loopback, private, link-local (cloud metadata), shared, documentation, multicast, and their IPv6 spellings. */
const PRIVATE = new BlockList();
for (const [net, length] of [['0.0.0.0', 8], ['10.0.0.0', 8], ['100.64.0.0', 10], ['127.0.0.0', 8], ['169.254.0.0', 16], ['172.16.0.0', 12], ['192.0.0.0', 24], ['192.0.2.0', 24], ['192.168.0.0', 16], ['198.18.0.0', 15], ['198.51.100.0', 24], ['203.0.113.0', 24], ['224.0.0.0', 3]] as const) PRIVATE.addSubnet(net, length, 'ipv4');
for (const [net, length] of [['::', 96], ['64:ff9b::', 96], ['64:ff9b:1::', 48], ['100::', 64], ['2001:db8::', 32], ['2002::', 16], ['fc00::', 7], ['fe80::', 10], ['ff00::', 8]] as const) PRIVATE.addSubnet(net, length, 'ipv6');

export const isPrivate = (address: string): boolean => PRIVATE.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
/** Whether a URL's host is a private address by itself, without a question to anybody. */
export function isPrivateHost(hostname: string): boolean {
  const bare = hostname.replace(/^\[|\]$/g, '');
  return isIP(bare) !== 0 && isPrivate(bare);
}

/** The address is one that nobody may be made to call. */
export class PrivateAddress extends Error {}

/** The address that a host has, for a connection to it that is made elsewhere. @throws PrivateAddress, and what a lookup says */
export async function addressOf(host: string, anywhere: boolean): Promise<string> {
  if (isIP(host) !== 0) {
    if (!anywhere && isPrivate(host)) throw new PrivateAddress(`${host} is a private address`);
    return host;
  }
  return new Promise((done, reject) => {
    const options = { all: false } as const;
    (anywhere ? resolve : guarded as typeof resolve)(host, options, (error, address) => { if (error) reject(error); else done(address); });
  });
}

/** Looks a name up and refuses what is private, for the very connection: what is checked is what is called. */
const guarded: LookupFunction = (host, options, done) => {
  resolve(host, { ...options, all: true }, (error, found) => {
    const addresses: LookupAddress[] = error ? [] : found;
    const bad = addresses.find(({ address }) => isPrivate(address));
    if (error) return done(error, '', 0);
    if (bad) return done(new PrivateAddress(`${host} is at ${bad.address}, a private address`), '', 0);
    return options.all ? done(null, addresses as never, 0) : done(null, addresses[0]!.address, addresses[0]!.family);
  });
};

export interface Call {
  readonly url: string; readonly headers: Readonly<Record<string, string>>; readonly body: string;
  /** for connecting, sending and answering together, ms */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** private addresses may be called */
  readonly anywhere: boolean;
}
export interface Called { readonly status: number; readonly tookMs: number; /** the first of it, for people */ readonly text: string }

/** characters of an answer that are kept, and bytes that are read */
const KEEP = 500;
const READ_MAX = 64 * 1024;

/** POSTs once; redirects are not followed. @throws PrivateAddress, and whatever went wrong on the way */
export function post({ url, headers, body, timeoutMs, signal, anywhere }: Call): Promise<Called> {
  const { protocol, hostname } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  if (!anywhere && isIP(host) !== 0 && isPrivate(host)) return Promise.reject(new PrivateAddress(`${host} is a private address`));
  const started = performance.now();
  return new Promise((done, reject) => {
    const all = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const outgoing = (protocol === 'https:' ? secure : plain)(url, { method: 'POST', agent: false, signal: all, headers: { ...headers, 'content-length': Buffer.byteLength(body) }, ...(!anywhere && { lookup: guarded }) }, (answer: IncomingMessage) => {
      const pieces: Buffer[] = [];
      let bytes = 0;
      const end = (): void => done({ status: answer.statusCode ?? 0, tookMs: Math.round(performance.now() - started), text: Buffer.concat(pieces).toString('utf8').slice(0, KEEP) });
      answer.on('data', (piece: Buffer) => {
        pieces.push(piece);
        if ((bytes += piece.length) > READ_MAX) { end(); answer.destroy(); }
      }).on('end', end).on('error', reject);
    });
    outgoing.on('error', (error) => reject(all.aborted && !signal.aborted ? new Error(`no answer within ${Math.round(timeoutMs / 1000)} s`) : error));
    outgoing.end(body);
  });
}
