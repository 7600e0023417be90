import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemberLedger, type MemberHead } from './members.js';

const LIMITS = { bytes: 1000, files: 50 };
const file = (name: string, bytes = 1): MemberHead => ({ name, kind: 'file', executable: false, bytes, link: null });
const folder = (name: string): MemberHead => ({ ...file(name, 0), kind: 'directory' });
const link = (name: string, to: string): MemberHead => ({ ...file(name, 0), kind: 'symlink', link: to });
const taken = (...members: MemberHead[]): { paths: (string | null)[]; root: string } => {
  const ledger = new MemberLedger(LIMITS);
  const paths = members.map((member) => ledger.add(member));
  return { paths, root: ledger.root() };
};

describe('members of an archive', () => {
  it('are taken by their plain paths', () => {
    expect(taken(folder('./'), file('./a b'), folder('d/'), file('d//e'), file('new\nline'), file('\xff\xfe'), file('x'.repeat(255)), link('d/l', '../a b'))).toEqual({
      paths: [null, 'a b', 'd', 'd/e', 'new\nline', '\xff\xfe', 'x'.repeat(255), 'd/l'], root: '',
    });
  });

  it('may all lie in one folder, which is not part of the app', () => {
    expect(taken(folder('shop-1/'), file('shop-1/a'), link('shop-1/d/l', '../a')).root).toBe('shop-1/');
    expect(taken(file('shop-1/a'), file('b')).root).toBe('');
    expect(taken(file('only')).root).toBe('');
  });

  it('leave git\'s own folder out', () => { expect(taken(file('.git/config'), file('.GIT/hooks/x'), file('sub/.git'), file('a'))).toEqual({ paths: [null, null, null, 'a'], root: '' }); });

  it.each([
    ['an absolute path', [file('/etc/passwd')], /absolute path, "\/etc\/passwd"/],
    ['a way out', [file('a/../../x')], /leads out of it/],
    ['..', [folder('..')], /leads out of it/],
    ['a file twice', [file('a'), file('a')], /"a" twice/],
    ['a file twice by another spelling', [file('a/b'), file('./a//b')], /"a\/b" twice/],
    ['a folder as a file', [file('a/b'), file('a')], /"a" twice/],
    ['a file below a file', [file('a'), file('a/b')], /behind a file/],
    ['a file behind a link', [link('a', 'b'), file('a/b')], /behind a symbolic link/],
    ['a link in place of a folder', [file('a/b'), link('a', 'b')], /"a" twice/],
    ['an absolute link', [link('a', '/etc/passwd')], /symbolic link that leads out/],
    ['a link out', [file('a/x'), link('a/b', '../../x')], /symbolic link that leads out/],
    ['a link that wanders', [link('a', 'd/../../x'), file('b')], /symbolic link that leads out/],
    ['a link to nothing', [link('a', '')], /symbolic link that leads out/],
    ['a link out of the one folder', [file('shop/x'), link('shop/y', '../z')], /symbolic link that leads out/],
    ['a hard link', [{ ...file('a'), kind: { other: 'a hard link' } }], /a hard link, "a"/],
    ['a name that no file has', [file('x'.repeat(256))], /too long/],
    ['a path that no file has', [file('x/'.repeat(3000))], /too long/],
    ['a NUL', [file('a\0b')], /no file can have/],
    ['.git in disguise', [file('GIT~1/config')], /read as \.git/],
    ['too many bytes', [file('a', 600), file('b', 600)], /MiB once it is unpacked/],
    ['too many members', Array.from({ length: 51 }, (_, i) => folder(`d${i}`)), /more than 50 members/],
    ['nothing', [folder('d')], /holds no files/],
  ] as const)('refuse %s', (_, members, says) => { expect(() => taken(...members)).toThrow(says); });

  it('never lead out, whatever they are called', () => {
    const part = fc.constantFrom('a', 'b', '..', '.', '', 'c d');
    const path = fc.array(part, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'));
    fc.assert(fc.property(fc.array(fc.oneof(path.map((p) => file(p)), fc.tuple(path, path).map(([p, to]) => link(p, to))), { maxLength: 8 }), (members) => {
      const ledger = new MemberLedger(LIMITS);
      const taken: [string, MemberHead][] = [];
      let root = '';
      try {
        for (const member of members) {
          const at = ledger.add(member);
          if (at !== null) taken.push([at, member]);
        }
        root = ledger.root();
      } catch {
        return; // refused whole
      }
      for (const [at] of taken) expect(at.split('/').every((p) => p !== '..' && p !== '.' && p !== '')).toBe(true);
      const links = new Map(taken.flatMap(([at, { kind, link: to }]) => (kind === 'symlink' ? [[at.slice(root.length), to!] as const] : [])));
      // follow every link as a kernel would
      for (const [from] of links) {
        let [at, rest, hops] = [from.split('/').slice(0, -1), links.get(from)!.split('/'), 0];
        while (rest.length > 0 && hops < 50) {
          const step = rest.shift()!;
          if (step === '' || step === '.') continue;
          if (step === '..') {
            expect(at.length).toBeGreaterThan(0);
            at = at.slice(0, -1);
            continue;
          }
          const next = [...at, step].join('/');
          if (links.has(next)) [rest, hops] = [[...links.get(next)!.split('/'), ...rest], hops + 1];
          else at = [...at, step];
        }
      }
    }), { numRuns: 5000 });
  });
});
