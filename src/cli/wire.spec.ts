import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReplyReader } from './door.js';
import { Frames, headOf } from './protocol.js';
import { appOf, gitCommand, gitProtocol } from './repository.js';

/** The same bytes in pieces of any size. */
function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
}
const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 10 });

describe('lines', () => {
  it('are the same however the bytes arrive', () => {
    fc.assert(fc.property(fc.array(fc.string({ unit: 'binary' }).map((line) => line.replaceAll('\n', ' '))), sizes, (given, pieces) => {
      const lines = new Frames();
      const whole = Buffer.from(given.map((line) => `${line}\n`).join(''));
      expect(cut(whole, pieces).flatMap((piece) => lines.push(piece))).toEqual(whole.toString().split('\n').slice(0, -1));
    }));
  });

  it('have bytes between them, which come as they are', () => {
    const line = fc.json({ maxDepth: 1 }).map((text) => text.replaceAll('\n', ' '));
    // newlines and heads of bytes are bytes like any others there
    const bytes = fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 60 }), fc.constantFrom('\n', '\n\n{"exit":0}\n', '{"bytes":5}\n').map((text) => Buffer.from(text))).map((each) => Buffer.from(each));
    fc.assert(fc.property(fc.array(fc.oneof(line, bytes)), sizes, (given, pieces) => {
      const frames = new Frames();
      const wire = Buffer.concat(given.flatMap((frame) => (typeof frame === 'string' ? [Buffer.from(`${frame}\n`)] : [Buffer.from(headOf(frame)), frame])));
      const found = cut(wire, pieces).flatMap((piece) => frames.push(piece));
      const joined = (all: readonly (string | Buffer)[]): (string | number)[] => all.flatMap((frame): (string | number)[] => (typeof frame === 'string' ? [frame] : [...frame]));
      expect(joined(found)).toEqual(joined(given));
    }));
  });

  it('end with what stands behind the last newline, but not within bytes', () => {
    const frames = new Frames();
    expect([frames.push(Buffer.from('{"a":1}\n{"b"')), frames.end(), frames.end()]).toEqual([['{"a":1}'], '{"b"', '']);
    expect([frames.push(Buffer.from('{"bytes":9}\nabc')), frames.end()]).toEqual([[Buffer.from('abc')], '']);
  });

  it('have a longest length', () => {
    const lines = new Frames(10);
    lines.push(Buffer.from('12345'));
    expect(() => lines.push(Buffer.from('678901'))).toThrow('longer than 10 bytes');
  });
});

describe('a reply', () => {
  const body = fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 }).map((bytes) => Buffer.from(bytes)), { maxLength: 6 });

  it('in chunks is the same however the bytes arrive', () => {
    fc.assert(fc.property(body, sizes, (chunks, pieces) => {
      const head = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n';
      const wire = Buffer.concat([Buffer.from(head), ...chunks.flatMap((chunk) => [Buffer.from(`${chunk.length.toString(16)};x=y\r\n`), chunk, Buffer.from('\r\n')]), Buffer.from('0\r\n\r\n')]);
      const reader = new ReplyReader();
      const seen = cut(wire, pieces).flatMap((piece) => reader.push(piece));
      expect(reader.status).toBe(200);
      expect(reader.done).toBe(true);
      expect(Buffer.concat(seen)).toEqual(Buffer.concat(chunks));
    }));
  });

  it('with a length ends behind it', () => {
    fc.assert(fc.property(body, sizes, (chunks, pieces) => {
      const content = Buffer.concat(chunks);
      const reader = new ReplyReader();
      const seen = cut(Buffer.concat([Buffer.from(`HTTP/1.1 404 Not Found\r\ncontent-length: ${content.length}\r\n\r\n`), content]), pieces).flatMap((piece) => reader.push(piece));
      expect([reader.status, reader.done]).toEqual([404, true]);
      expect(Buffer.concat(seen)).toEqual(content);
    }));
  });

  it('that is not HTTP is an error', () => {
    expect(() => new ReplyReader().push(Buffer.from('SSH-2.0-x\r\n\r\n'))).toThrow();
    expect(() => new ReplyReader().push(Buffer.from('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n'))).toThrow();
  });
});

describe('what git asks for', () => {
  it.each(['blog', '/blog', 'blog.git', '~/blog', '/blog.git/', '//blog', '~/blog.git'])('%j means the app blog', (path) => { expect(appOf(path)).toBe('blog'); });

  it.each([
    [['git-receive-pack', '/blog.git'], { service: 'git-receive-pack', repo: 'blog' }],
    [['git', 'upload-pack', '~/blog'], { service: 'git-upload-pack', repo: 'blog' }],
    [['git-receive-pack', '../../etc'], { service: 'git-receive-pack', repo: '../../etc' }], // the API says what a name is
  ])('%j', (words, expected) => { expect(gitCommand(words)).toEqual(expected); });

  it.each([[['git-upload-archive', 'blog']], [['git-receive-pack']], [['git-receive-pack', 'a', 'b']], [['git-receive-pack', '/']], [['git-receive-pack', '--help']]])('%j is refused', (words) => {
    expect(gitCommand(words)).toHaveProperty('refused');
  });

  it.each([[['apps:list']], [['git:set', 'blog']], [['git', 'status']], [['constructor', 'x']], [[]]])('%j is not git\'s', (words) => { expect(gitCommand(words)).toBeNull(); });

  it('passes only a plain protocol version on', () => {
    expect(gitProtocol('version=2')).toBe('version=2');
    for (const bad of [undefined, '', 'version=2;x', 'version=2\nLD_PRELOAD=x', 'x']) expect(gitProtocol(bad)).toBeNull();
  });
});
