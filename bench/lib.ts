import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { tarOf, type Files } from '../test/e2e/engine.kit.js';

export { sleep, type Files };

/** A build context. */
export async function contextOf(files: Files): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of tarOf(files) as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}

const SOCKET = process.env['BERTH_DOCKER'] ?? '/var/run/docker.sock';

/** A word that no other run of a bench has. */
export const random = (): string => randomBytes(3).toString('hex');

/** `--name 5` or `--name=5` among the arguments. */
export function option(name: string, otherwise: number): number {
  const at = process.argv.findIndex((word) => word === `--${name}` || word.startsWith(`--${name}=`));
  if (at < 0) return otherwise;
  const value = Number(process.argv[at]!.split('=')[1] ?? process.argv[at + 1]);
  if (!Number.isFinite(value)) throw new Error(`--${name} wants a number`);
  return value;
}

export interface Spread { readonly min: number; readonly p50: number; readonly p95: number; readonly p99: number; readonly max: number; readonly n: number }

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
  return { min: at(0), p50: at(0.5), p95: at(0.95), p99: at(0.99), max: sorted.at(-1) ?? NaN, n: sorted.length };
}

/** A table with a line a name; `base` is what the last column is a ratio of. */
export class Table {
  private readonly rows: string[][];

  constructor(private readonly what: string, private readonly unit = 'ms', private readonly digits = 0) {
    this.rows = [[what, 'min', 'p50', 'p95', 'p99', 'max', 'n', 'ratio']];
  }

  add(name: string, values: readonly number[], base?: readonly number[]): Spread {
    const s = spread(values);
    const ratio = base ? (s.p50 / spread(base).p50).toFixed(2) : '';
    this.rows.push([name, ...[s.min, s.p50, s.p95, s.p99, s.max].map((value) => value.toFixed(this.digits)), String(s.n), ratio]);
    return s;
  }

  print(): void {
    const widths = this.rows[0]!.map((_, column) => Math.max(...this.rows.map((row) => row[column]!.length)));
    for (const row of this.rows) console.log(row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  '));
    console.log(`(${this.unit})`);
  }
}

export function verdict(what: string, value: number, target: number, unit: string): void {
  console.log(`${value <= target ? 'met   ' : 'MISSED'} ${what}: ${value.toFixed(value < 10 ? 2 : 0)} ${unit}, target ${target.toFixed(target < 10 ? 2 : 0)} ${unit}`);
}

export async function timed<T>(work: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const started = performance.now();
  const value = await work();
  return { ms: performance.now() - started, value };
}

/** The engine's API with nothing between: `node:http` on its socket. Throws for 4xx and 5xx. */
export function engine<T = unknown>(method: string, path: string, body?: Buffer | object): Promise<T> {
  return new Promise((yes, no) => {
    const stream = Buffer.isBuffer(body);
    const sent = request({ socketPath: SOCKET, method, path, headers: { 'content-type': stream ? 'application/x-tar' : 'application/json' } }, (reply) => {
      let text = '';
      reply.setEncoding('utf8').on('data', (piece: string) => { text += piece; }).on('error', no).on('end', () => {
        if ((reply.statusCode ?? 500) >= 400) return no(new Error(`engine: ${method} ${path}: ${String(reply.statusCode)} ${text}`));
        const json = reply.headers['content-type']?.includes('json') && !path.startsWith('/build');
        yes((json && text !== '' ? JSON.parse(text) : text) as T);
      });
    });
    sent.on('error', no);
    sent.end(stream || body === undefined ? body : JSON.stringify(body));
  });
}

/** One GET on a connection of its own; status 0 when there is no answer. */
export function get(host: string, port: number, path = '/', hostHeader?: string): Promise<{ status: number; body: string }> {
  return new Promise((yes) => {
    const none = (): void => yes({ status: 0, body: '' });
    const sent = request({ host, port, path, agent: false, timeout: 2000, ...(hostHeader && { headers: { host: hostHeader } }) }, (reply) => {
      let body = '';
      reply.setEncoding('utf8').on('data', (text: string) => { body += text; }).on('end', () => yes({ status: reply.statusCode ?? 0, body })).on('error', none);
    });
    sent.on('timeout', () => { sent.destroy(); });
    sent.on('error', none);
    sent.end();
  });
}

/** Asks every `everyMs` until the answer is a 200 that `right` accepts. */
export async function answering(ask: () => Promise<{ status: number; body: string }>, right: (body: string) => boolean, withinMs = 120_000, everyMs = 4): Promise<void> {
  const end = performance.now() + withinMs;
  for (;;) {
    const { status, body } = await ask();
    if (status === 200 && right(body)) return;
    if (performance.now() > end) throw new Error(`no right answer within ${withinMs / 1000} s; last: ${status} ${body.slice(0, 200)}`);
    await sleep(everyMs);
  }
}

export interface RawRun { readonly build: number; readonly before: number; readonly create: number; readonly start: number; readonly answer: number; readonly total: number }

/** Build, create, start, first right answer, by the engine's API alone. What it made is removed afterwards, outside the time. */
export async function rawRun(options: { tag: string; context: Buffer; builder: 'buildkit' | 'legacy'; query?: string; port: number; env?: readonly string[]; cmd?: readonly string[]; path?: string; host?: string; /** run in a container of its own before the start, as a release command is */ before?: readonly string[]; right: (body: string) => boolean }): Promise<RawRun> {
  const { tag, port } = options;
  const began = performance.now();
  const version = options.builder === 'buildkit' ? '2' : '1';
  // a later build of the same tag leaves this one nameless. Not the instance's label: Berth would sweep it away
  const label = encodeURIComponent(JSON.stringify({ 'berth-bench': `${tag.split('/')[0]}/` }));
  const output = await engine<string>('POST', `/build?t=${encodeURIComponent(tag)}&labels=${label}&version=${version}&rm=1&forcerm=1${options.query ?? ''}`, options.context);
  const error = /"error":"((?:[^"\\]|\\.)*)"/.exec(output);
  if (error) throw new Error(`raw build: ${error[1]}`);
  const built = performance.now();
  if (options.before) {
    const { Id: once } = await engine<{ Id: string }>('POST', '/containers/create', { Image: tag, Cmd: options.before, HostConfig: { Init: true } });
    await engine('POST', `/containers/${once}/start`);
    const { StatusCode: exit } = await engine<{ StatusCode: number }>('POST', `/containers/${once}/wait`);
    await engine('DELETE', `/containers/${once}?force=1&v=1`);
    if (exit !== 0) throw new Error(`${options.before.join(' ')} ended with ${exit}`);
  }
  const ready = performance.now();
  const { Id: id } = await engine<{ Id: string }>('POST', '/containers/create', { Image: tag, Env: options.env ?? [], ...(options.cmd && { Cmd: options.cmd }), HostConfig: { Init: true } });
  try {
    const created = performance.now();
    await engine('POST', `/containers/${id}/start`);
    const started = performance.now();
    const { NetworkSettings: net } = await engine<{ NetworkSettings: { IPAddress: string } }>('GET', `/containers/${id}/json`);
    await answering(() => get(net.IPAddress, port, options.path, options.host), options.right);
    const end = performance.now();
    return { build: built - began, before: ready - built, create: created - ready, start: started - created, answer: end - started, total: end - began };
  } finally {
    await engine('DELETE', `/containers/${id}?force=1&v=1`);
  }
}

/** busybox from the machine as an image without a registry; answers its name. */
export async function tinyImage(name: string): Promise<string> {
  const busybox = readFileSync('/bin/busybox');
  const output = await engine<string>('POST', `/build?t=${name}&version=1&rm=1`, await contextOf({ busybox, Dockerfile: 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\nENV PATH=/bin\n' }));
  if (output.includes('"error"')) throw new Error(output);
  return name;
}

/** Those tagged `<prefix>…`, and what `rawRun` made under such a tag. */
export async function removeImages(prefix: string): Promise<void> {
  const nameless = await engine<{ Id: string }[]>('GET', `/images/json?filters=${encodeURIComponent(JSON.stringify({ label: [`berth-bench=${prefix}`] }))}`);
  for (const { Id: id } of nameless) await engine('DELETE', `/images/${id}?force=1`).catch(() => {});
  const images = await engine<{ Id: string; RepoTags: string[] | null }[]>('GET', '/images/json');
  for (const tag of images.flatMap((image) => image.RepoTags ?? []).filter((it) => it.startsWith(prefix))) await engine('DELETE', `/images/${encodeURIComponent(tag)}?force=1`).catch(() => {});
}

/** A process and all its descendants. */
export function family(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
  return [pid, ...children.flatMap(family)];
}

/** kB of `Rss`, `Pss`, `Private_*` of a process. */
export function memoryOf(pid: number): { rss: number; pss: number; own: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
  return { rss: of('Rss'), pss: of('Pss'), own: of('Private_Clean') + of('Private_Dirty') };
}

/** Clock ticks (10 ms) of user and system time. */
export function ticksOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

/** How late the machine runs what is due, ms: what of a p99 is not ours. Ends with `stop`. */
export function lateness(everyMs = 20): { values: number[]; stop: () => void } {
  const values: number[] = [];
  let due = performance.now() + everyMs;
  const timer = setInterval(() => {
    const now = performance.now();
    values.push(Math.max(0, now - due));
    due = now + everyMs;
  }, everyMs);
  return { values, stop: () => { clearInterval(timer); } };
}

/** What the machine is doing besides: printed under every table. */
export function machine(): string {
  return `load ${readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 3).join(' ')}, node ${process.version}, ${readlinkSync('/proc/self/exe').split('/').slice(-4).join('/')}`;
}

/** `--name text` or `--name=text` among the arguments, or null. */
export function word(name: string): string | null {
  const at = process.argv.findIndex((it) => it === `--${name}` || it.startsWith(`--${name}=`));
  return at < 0 ? null : (process.argv[at]!.split('=')[1] ?? process.argv[at + 1] ?? null);
}
