import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GENESIS, link, type ChainedEvent } from '../../events/chain.js';
import { signCheckpoint } from './audit-key.js';
import { checkpointIn, exportLine, readExport } from './export-file.js';
import { START, verifyChain, type Against, type Known, type Verdict } from './verify.js';

const key = generateKeyPairSync('ed25519').privateKey;

/** A sound log of `n` events, as a store has it. */
function log(n: number): ChainedEvent[] {
  const rows: ChainedEvent[] = [];
  for (let i = 1; i <= n; i += 1) append(rows, 'Something', { i });
  return rows;
}
function append(rows: ChainedEvent[], type: string, data: unknown, stream = 's'): ChainedEvent {
  const before = rows.at(-1);
  const event = { position: (before?.position ?? 0) + 1, stream, version: 1 + rows.filter((r) => r.stream === stream).length, id: `e${rows.length}`, type, schema: 1, data: JSON.stringify(data), meta: '{"actor":"me"}', at: 1000 + rows.length };
  const row = { ...event, correlation: 'c', hash: link(before?.hash ?? GENESIS, event) };
  rows.push(row);
  return row;
}
/** Every hash made anew from `at` on, as somebody would who can write the database. */
function rechain(rows: readonly ChainedEvent[]): ChainedEvent[] {
  let previous = GENESIS;
  return rows.map((row, i) => {
    const event = { ...row, position: i + 1 };
    previous = link(previous, event);
    return { ...event, hash: previous };
  });
}
const checkpoint = (rows: readonly ChainedEvent[], position: number, signer = key): Known['checkpoint'] => signCheckpoint(signer, { position, chain: rows[position - 1]!.hash, takenAt: 5 });

async function* pages(rows: readonly ChainedEvent[], size: number): AsyncGenerator<readonly ChainedEvent[]> {
  for (let at = 0; at < rows.length; at += size) yield rows.slice(at, at + size);
}
const verify = (rows: readonly ChainedEvent[], against: Partial<Against> = {}, size = 7): Promise<Verdict> => verifyChain(pages(rows, size), { from: START, key: null, checkpoints: [], earlier: new Map(), ...against });
const problem = async (...args: Parameters<typeof verify>) => (await verify(...args)).problem;

describe('the chain', () => {
  it('is sound when nothing was done to it', async () => {
    const rows = log(30);
    expect(await verify(rows)).toEqual({ events: 30, head: { position: 30, hash: rows[29]!.hash }, checkpoints: 0, covered: 0, problem: null });
    expect(await verify([])).toMatchObject({ events: 0, problem: null });
    expect(await verify(rows.slice(10), { from: { position: 10, hash: rows[9]!.hash } })).toMatchObject({ events: 20, problem: null });
  });

  const where = fc.integer({ min: 1, max: 29 });
  const sizes = fc.integer({ min: 1, max: 40 });
  const FIELDS: ((row: ChainedEvent) => Partial<ChainedEvent>)[] = [() => ({ data: '{"i":0}' }), () => ({ meta: '{}' }), () => ({ type: 'Other' }), () => ({ stream: 't' }), (r) => ({ at: r.at + 1 }), (r) => ({ id: `${r.id}x` }), (r) => ({ version: r.version + 1 }), () => ({ schema: 2 })];

  it('names the event whose field was altered, whichever field', () => fc.assert(fc.asyncProperty(where, sizes, fc.constantFrom(...FIELDS), async (at, size, change) => {
    const rows = log(30).map((row) => (row.position === at ? { ...row, ...change(row) } : row));
    expect(await problem(rows, {}, size)).toMatchObject({ kind: 'altered', position: at });
  })));

  it('names the first event that is missing', () => fc.assert(fc.asyncProperty(where, fc.integer({ min: 1, max: 5 }), sizes, async (at, many, size) => {
    fc.pre(at + many <= 30);
    expect(await problem(log(30).filter((row) => row.position < at || row.position >= at + many), {}, size)).toMatchObject({ kind: 'removed', position: at });
  })));

  it('names one that was taken out, also when those behind it were moved up', () => fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 28 }), sizes, async (at, size) => {
    const rows = log(30).filter((row) => row.position !== at).map((row, i) => ({ ...row, position: i + 1 }));
    expect(await problem(rows, {}, size)).toMatchObject({ kind: 'removed', position: at });
  })));

  it('names one that was put in', () => fc.assert(fc.asyncProperty(where, sizes, async (at, size) => {
    const rows = log(30);
    const fake = { ...rows[0]!, id: 'fake', data: '{"fake":1}', hash: 'f'.repeat(64) };
    expect(await problem([...rows.slice(0, at), fake, ...rows.slice(at)].map((row, i) => ({ ...row, position: i + 1 })), {}, size)).toMatchObject({ kind: 'inserted', position: at + 1 });
    expect(await problem([...rows.slice(0, at), { ...fake, position: at }, ...rows.slice(at)], {}, size)).toMatchObject({ kind: 'inserted', position: at });
  })));

  it('names the first of two that changed places, with their numbers or without', () => fc.assert(fc.asyncProperty(where, where, sizes, async (a, b, size) => {
    fc.pre(a < b);
    const rows = log(30);
    const swapped = rows.map((row) => (row.position === a ? rows[b - 1]! : row.position === b ? rows[a - 1]! : row));
    expect(await problem(swapped, {}, size)).toMatchObject({ kind: 'reordered', position: a });
    expect(await problem(swapped.map((row, i) => ({ ...row, position: i + 1 })), {}, size)).toMatchObject({ kind: 'reordered', position: a });
  })));
});

describe('checkpoints', () => {
  const known = (rows: readonly ChainedEvent[], position: number, signer = key): Known => ({ checkpoint: checkpoint(rows, position, signer), where: 'a file', at: null });
  const own = checkpoint(log(1), 1).key;

  it('vouch for what is before them', async () => {
    const rows = log(30);
    expect(await verify(rows, { checkpoints: [known(rows, 20), known(rows, 10)], key: own })).toMatchObject({ problem: null, checkpoints: 2, covered: 20 });
  });

  it('find a log that was written anew with all its hashes, up to the last one', async () => {
    const rows = log(30);
    const anew = rechain(rows.map((row) => (row.position === 15 ? { ...row, data: '{"i":0}' } : row)));
    expect(await problem(anew)).toBeNull();
    expect(await problem(anew, { checkpoints: [known(rows, 10), known(rows, 20)], key: own })).toMatchObject({ kind: 'rewritten', position: 11 });
    expect(await problem(anew, { checkpoints: [known(rows, 10)], key: own })).toBeNull();
    expect(await problem(anew, { earlier: new Map(rows.map((row) => [row.position, row.hash])) })).toMatchObject({ kind: 'rewritten', position: 15 });
  });

  it('find an end that was cut off', async () => {
    const rows = log(30);
    expect(await problem(rows.slice(0, 12), { checkpoints: [known(rows, 20)], key: own })).toMatchObject({ kind: 'removed', position: 13 });
  });

  it('must be signed, and by the right key', async () => {
    const rows = log(30);
    const forged = { ...checkpoint(rows, 20), chain: 'a'.repeat(64) };
    expect(await problem(rows, { checkpoints: [{ checkpoint: forged, where: 'event 21', at: 21 }] })).toMatchObject({ kind: 'altered', position: 21 });
    expect(await problem(rows, { checkpoints: [known(rows, 20, generateKeyPairSync('ed25519').privateKey)], key: own })).toMatchObject({ kind: 'altered' });
  });
});

describe('an export', () => {
  const text = (rows: readonly ChainedEvent[], head = true): Buffer => Buffer.from([...(head ? [{ berth: 'audit-export', version: 1, after: 0, previous: GENESIS, key: null }] : []), ...rows.map(exportLine)].map((line) => JSON.stringify(line)).join('\n'));
  const check = async (file: Buffer): Promise<Verdict> => {
    const read = readExport(file, 'x');
    return verifyChain(read.pages(), { from: read.from, key: null, checkpoints: read.checkpoints, earlier: new Map() });
  };

  it('is checked as the log is, whatever its texts are', async () => {
    const rows = log(5);
    for (const data of [{ t: 'a\nb\u2028 ü 😀 "\\' }, { 2: 1, 1: 2, b: 3 }, { n: 1e21, m: -0.5 }, 'text', null, ['__proto__', JSON.parse('{"__proto__":1}')]]) append(rows, 'X', data);
    const odd = { ...rows[0]!, data: '{ "i" : 1 }' };
    expect(await check(text(rows))).toMatchObject({ events: rows.length, problem: null });
    expect((await check(text([odd, ...rows.slice(1)]))).problem).toMatchObject({ kind: 'altered', position: 1 });
  });

  it('has its checkpoints in it', async () => {
    const rows = log(5);
    const made = checkpoint(rows, 5);
    append(rows, 'AuditCheckpointTaken', made, 'audit');
    append(rows, 'Something', {});
    expect(checkpointIn({ ...rows[5]! })).toHaveLength(1);
    expect(await check(text(rows))).toMatchObject({ problem: null, checkpoints: 1, covered: 5 });
    const anew = rechain(rows.map((row) => (row.position === 2 ? { ...row, data: '{"i":0}' } : row)));
    expect((await check(text(anew))).problem).toMatchObject({ kind: 'rewritten', position: 1 });
  });

  it('is read alone, as checkpoints, in the envelope of --format json, and refused when it is none', async () => {
    const rows = log(3);
    expect(readExport(Buffer.from(`${JSON.stringify({ taken: true, checkpoint: checkpoint(rows, 3) })}\n`), 'x')).toMatchObject({ count: 0, checkpoints: [{ where: 'x' }] });
    const wrapped = Buffer.from(rows.map((row) => JSON.stringify({ id: '1', event: 'X', data: exportLine(row) })).join('\n'));
    expect(await check(wrapped)).toMatchObject({ events: 3, problem: null });
    for (const bad of ['', '{}', 'x', '[1]', 'null', '{"berth":"audit-export"}']) expect(() => readExport(Buffer.from(bad), 'x')).toThrow();
  });
});
