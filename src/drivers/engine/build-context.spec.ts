import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import tar from 'tar-stream';
import { afterAll, describe, expect, it } from 'vitest';
import { packContext, scanSource } from './build-context.js';
import { packFolder } from '../archive/folder-tar.js';
import { END, padding, rawEntries, tarHead } from '../archive/raw-tar.js';

const folder = mkdtempSync(join(tmpdir(), 'berth-context-'));
afterAll(() => { rmSync(folder, { recursive: true, force: true }); });

interface Seen { readonly name: string; readonly type: string; readonly mode: number; readonly linkname: string | null; readonly content: string }

async function read(bytes: Buffer | Readable, pieces = 100): Promise<Seen[]> {
  const all = Buffer.isBuffer(bytes) ? bytes : await buffer(bytes);
  const split = Readable.from((function* () { for (let at = 0; at < all.length; at += pieces) yield all.subarray(at, at + pieces); })());
  const seen: Seen[] = [];
  for await (const entry of rawEntries(split)) seen.push({ name: entry.name, type: entry.type, mode: entry.mode, linkname: entry.linkname, content: (await buffer(Readable.from(entry.body(false)))).toString('latin1') });
  return seen;
}

/** A source of names that are bytes. */
const source = (entries: Readonly<Record<string, string>>): Buffer => Buffer.concat([...Object.entries(entries).flatMap(([name, content]) =>
  [tarHead({ name, type: 'file', mode: 0o755, size: content.length, linkname: null, mtime: 1 }), Buffer.from(content, 'latin1'), padding(content.length)]), Buffer.alloc(END)]);

const hostile = { 'plain.txt': 'a', 'two words': 'b', 'new\nline': 'c', 'latin1-\xe9\xff': 'd', [`deep/${'x'.repeat(255)}/${'\xfe'.repeat(255)}`]: 'e', 'utf8-\xc3\xbc': 'f', '-rf': '', '$HOME `x` "q" \\': 'g'.repeat(2000) };

describe('a context keeps every byte of a name', () => {
  const file = join(folder, 'source.tar');
  it('through what we read and write', async () => {
    writeFileSync(file, source(hostile));
    const packed = await read(packContext(file, { ignore: 'two*\n', leave: (path) => path === '-rf', put: new Map([['.berth/Dockerfile', 'FROM x'], ['plain.txt', 'ours']]) }));
    const { 'two words': _, '-rf': __, 'plain.txt': ___, ...rest } = hostile;
    expect(Object.fromEntries(packed.map(({ name, content }) => [name, content]))).toEqual({ '.berth/Dockerfile': 'FROM x', 'plain.txt': 'ours', ...rest });
    expect(packed.find(({ name }) => name === 'new\nline')).toMatchObject({ type: 'file', mode: 0o755 });
  });
  it('below a folder, which goes from their beginning', async () => {
    writeFileSync(file, source({ 'gr\xc3\xbcn/a\xff': '1', 'gr\xc3\xbcn/b/c': '2', 'gr\xc3\xbcne/d': '3', e: '4' }));
    expect((await read(packContext(file, { ignore: null, put: new Map(), root: './grün' }))).map(({ name, content }) => [name, content])).toEqual([['a\xff', '1'], ['b/c', '2']]);
  });
  it('tells sources apart whose names differ in bytes that are no text', async () => {
    const digests: string[] = [];
    for (const name of ['a\xff', 'a\xfe']) { writeFileSync(file, source({ [name]: '' })); digests.push((await scanSource(file, [])).digest); }
    expect(digests[0]).not.toBe(digests[1]);
    writeFileSync(file, source({ 'gr\xc3\xbcn/Dockerfile': 'FROM y' }));
    expect((await scanSource(file, ['grün/Dockerfile'])).texts.get('grün/Dockerfile')).toBe('FROM y');
  });
  it('as other programs do', async () => {
    const names = Object.keys(hostile).map((name) => Buffer.from(name, 'latin1'));
    writeFileSync(file, source(hostile));
    const listed = spawnSync('tar', ['--list', '--quoting-style=literal', '--show-transformed-names', '-f', file], { encoding: 'latin1' });
    expect(listed.stdout).toBe(names.map((name) => `${name.toString('latin1')}\n`).join(''));
  });
  it('for any name', () => fc.assert(fc.asyncProperty(fc.uint8Array({ min: 1, max: 255, minLength: 1, maxLength: 300 }), fc.integer({ min: 1, max: 700 }), async (bytes, pieces) => {
    const name = Buffer.from(bytes).toString('latin1').replace(/\/+$/, 'x');
    expect(await read(source({ [name]: 'content' }), pieces)).toEqual([{ name, type: 'file', mode: 0o755, linkname: null, content: 'content' }]);
  }), { numRuns: 60 }));
  it('of a folder that lies here', async () => {
    const here = join(folder, 'here');
    mkdirSync(join(here, 'leave'), { recursive: true });
    for (const name of ['b \xff\n', 'a', 'leave/c']) writeFileSync(Buffer.from(`${here}/${name}`, 'latin1'), 'x', { mode: name === 'a' ? 0o700 : 0o600 });
    symlinkSync(Buffer.from('/out/\xfe', 'latin1'), join(here, 'link'));
    expect(await read(packFolder(here, { leave: (name) => name === 'leave', extra: { more: 'y' } }))).toEqual([
      { name: './', type: 'directory', mode: 0o755, linkname: null, content: '' },
      { name: 'a', type: 'file', mode: 0o755, linkname: null, content: 'x' }, { name: 'b \xff\n', type: 'file', mode: 0o644, linkname: null, content: 'x' },
      { name: 'link', type: 'symlink', mode: 0o644, linkname: '/out/\xfe', content: '' }, { name: 'more', type: 'file', mode: 0o644, linkname: null, content: 'y' },
    ]);
    await expect(read(packFolder(join(folder, 'nowhere')))).rejects.toThrow('ENOENT');
  });
  it('links stay links, wherever they lead', async () => {
    const pack = tar.pack();
    pack.entry({ name: 'out', type: 'symlink', linkname: '../../etc/passwd' });
    pack.entry({ name: 'far', type: 'symlink', linkname: `/${'y'.repeat(300)}` });
    pack.finalize();
    writeFileSync(file, await buffer(pack));
    const packed = await read(packContext(file, { ignore: null, put: new Map() }));
    expect(packed.map(({ name, type, linkname }) => [name, type, linkname])).toEqual([['out', 'symlink', '../../etc/passwd'], ['far', 'symlink', `/${'y'.repeat(300)}`]]);
  });
  it('a damaged or cut archive is an error', async () => {
    const whole = source(hostile);
    await expect(read(whole.subarray(0, whole.length - 2500))).rejects.toThrow('unexpected end');
    whole[3] = whole[3]! ^ 1;
    await expect(read(whole)).rejects.toThrow('checksum');
    await expect(read(Buffer.from('x'.repeat(3000)))).rejects.toThrow('checksum');
  });
});
