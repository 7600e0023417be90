import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { masterKey, SecretBox, Unreadable } from './seal.js';
import type { Sealed } from './sealed.js';

const MASTER = Buffer.alloc(32, 7);
function memory() {
  const keys = new Map<string, Uint8Array>();
  return {
    keys,
    putKey: async (id: string, wrapped: Uint8Array) => { keys.set(id, wrapped); },
    key: async (id: string) => keys.get(id) ?? null,
    destroyKey: async (id: string) => { keys.delete(id); },
  };
}
async function boxed() {
  const store = memory();
  const box = new SecretBox(store, MASTER);
  await box.createKey('a');
  return { store, box };
}

describe('a sealed value', () => {
  it('comes back as it was, also in another process', async () => {
    const { store, box } = await boxed();
    await fc.assert(fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 200 }).filter((s) => s.isWellFormed()), async (text) => {
      const sealed = await box.seal('a', text);
      expect(await new SecretBox(store, MASTER).unseal(JSON.parse(JSON.stringify(sealed)) as Sealed)).toBe(text);
    }));
  });

  it('does not show its text, and is another one every time', async () => {
    const { box } = await boxed();
    const [one, two] = [await box.seal('a', 'hunter2'), await box.seal('a', 'hunter2')];
    expect(Buffer.from(one.ct, 'base64').toString('latin1')).not.toContain('hunter2');
    expect([one.iv, one.ct]).not.toEqual([two.iv, two.ct]);
  });

  it('that anybody changed is refused', async () => {
    const { box } = await boxed();
    const sealed = await box.seal('a', 'hunter2');
    await fc.assert(fc.asyncProperty(fc.constantFrom('iv', 'ct', 'tag'), fc.nat(), fc.integer({ min: 1, max: 255 }), async (part, at, by) => {
      const bytes = Buffer.from(sealed[part as 'iv'], 'base64');
      bytes[at % bytes.length]! ^= by;
      await expect(box.unseal({ ...sealed, [part]: bytes.toString('base64') })).rejects.toThrow();
    }));
    await expect(box.unseal({ ...sealed, tag: sealed.tag.slice(0, 6) })).rejects.toThrow();
    await box.createKey('b');
    await expect(box.unseal({ ...sealed, k: 'b' })).rejects.toThrow();
  });

  it('cannot be read once its key was destroyed, nor with another master key', async () => {
    const { store, box } = await boxed();
    const sealed = await box.seal('a', 'hunter2');
    await expect(new SecretBox(store, Buffer.alloc(32, 8)).unseal(sealed)).rejects.toThrow(Unreadable);
    await box.destroyKey('a');
    await expect(box.unseal(sealed)).rejects.toThrow(Unreadable);
    await expect(box.seal('a', 'more')).rejects.toThrow(/destroyed/);
  });

  it('is opened by a key that is nowhere in clear', async () => {
    const { store } = await boxed();
    const [wrapped] = [...store.keys.values()];
    expect(wrapped).toHaveLength(12 + 16 + 32);
    expect(Buffer.from(wrapped!).includes(MASTER)).toBe(false);
  });
});

describe('the master key', () => {
  const dir = mkdtempSync(join(tmpdir(), 'berth-seal-'));
  afterAll(() => rmSync(dir, { recursive: true }));

  it('is made once, for its owner only, and read from then on', () => {
    const file = join(dir, 'keys', 'master.key');
    const key = masterKey(file);
    expect(key).toHaveLength(32);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(masterKey(file)).toEqual(key);
  });

  it('is not made anew where a damaged one stands', () => {
    const file = join(dir, 'damaged');
    writeFileSync(file, 'c2hvcnQ=');
    expect(() => masterKey(file)).toThrow(/restore it from a backup/);
  });
});
