import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Sealed } from './sealed.js';
import type { EventStore } from './store.port.js';

const CIPHER = 'aes-256-gcm';

/** The sealed value cannot be read: its key was destroyed, or the master key is another one. */
export class Unreadable extends Error {
  constructor(readonly keyId: string, why: string) {
    super(`sealed with key ${keyId}, which ${why}`);
    this.name = 'Unreadable';
  }
}

function encrypt(key: Buffer, text: Buffer): { iv: Buffer; ct: Buffer; tag: Buffer } {
  const iv = randomBytes(12);
  const cipher = createCipheriv(CIPHER, key, iv);
  const ct = Buffer.concat([cipher.update(text), cipher.final()]);
  return { iv, ct, tag: cipher.getAuthTag() };
}

function decrypt(key: Buffer, { iv, ct, tag }: { iv: Buffer; ct: Buffer; tag: Buffer }): Buffer {
  const decipher = createDecipheriv(CIPHER, key, iv, { authTagLength: 16 }); // a shorter one could be guessed
  decipher.setAuthTag(tag);
  return Buffer.concat([decipher.update(ct), decipher.final()]);
}

/** Reads the server's master key (32 random bytes, file mode 0600), or makes it where there is none. */
export function masterKey(file: string): Buffer {
  if (!existsSync(file)) {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    try {
      writeFileSync(file, randomBytes(32).toString('base64'), { mode: 0o600, flag: 'wx' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
  const key = Buffer.from(readFileSync(file, 'utf8').trim(), 'base64');
  if (key.length !== 32) throw new Error(`${file}: not a master key (32 bytes as base64); restore it from a backup`);
  return key;
}

/**
 * Seals values with a key per app. The app's key lies in the store wrapped with the master key, so that destroying it makes
 * every value of the app unreadable, wherever copies of the log are.
 */
export class SecretBox {
  private readonly keys = new Map<string, Buffer>();
  private readonly wrapKey: Buffer;

  constructor(private readonly store: Pick<EventStore, 'putKey' | 'key' | 'destroyKey'>, master: Buffer) {
    this.wrapKey = Buffer.from(hkdfSync('sha256', master, Buffer.alloc(0), 'berth key wrap 1', 32));
  }

  /** Makes the key `id`; call once, when the app is made. */
  async createKey(id: string): Promise<void> {
    const { iv, ct, tag } = encrypt(this.wrapKey, randomBytes(32));
    await this.store.putKey(id, Buffer.concat([iv, tag, ct]));
  }

  async destroyKey(id: string): Promise<void> {
    this.keys.delete(id);
    await this.store.destroyKey(id);
  }

  async seal(id: string, text: string): Promise<Sealed> {
    const { iv, ct, tag } = encrypt(await this.open(id), Buffer.from(text));
    return { k: id, iv: iv.toString('base64'), ct: ct.toString('base64'), tag: tag.toString('base64') };
  }

  /** @throws Unreadable */
  async unseal(sealed: Sealed): Promise<string> {
    const part = (text: string): Buffer => Buffer.from(text, 'base64');
    return decrypt(await this.open(sealed.k), { iv: part(sealed.iv), ct: part(sealed.ct), tag: part(sealed.tag) }).toString();
  }

  private async open(id: string): Promise<Buffer> {
    const known = this.keys.get(id);
    if (known) return known;
    const wrapped = await this.store.key(id);
    if (!wrapped) throw new Unreadable(id, 'was destroyed');
    const bytes = Buffer.from(wrapped);
    try {
      const key = decrypt(this.wrapKey, { iv: bytes.subarray(0, 12), tag: bytes.subarray(12, 28), ct: bytes.subarray(28) });
      this.keys.set(id, key);
      return key;
    } catch {
      throw new Unreadable(id, "this server's master key does not open");
    }
  }
}
