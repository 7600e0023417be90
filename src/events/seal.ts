import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';
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

const wrapKeyOf = (master: Buffer): Buffer => Buffer.from(hkdfSync('sha256', master, Buffer.alloc(0), 'berth key wrap 1', 32));

function unwrap(wrapKey: Buffer, id: string, wrapped: Uint8Array, whose: string): Buffer {
  const bytes = Buffer.from(wrapped);
  try {
    return decrypt(wrapKey, { iv: bytes.subarray(0, 12), tag: bytes.subarray(12, 28), ct: bytes.subarray(28) });
  } catch {
    throw new Unreadable(id, `${whose} master key does not open`);
  }
}

/** ms that a process remembers an opened key: after that long at most, a key destroyed by another process is gone here, too */
const KEEP_MS = 30_000;

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
  private readonly keys = new Map<string, { readonly key: Buffer; readonly until: number }>();
  private readonly wrapKey: Buffer;
  private readonly markKey: Buffer;

  constructor(private readonly store: Pick<EventStore, 'putKey' | 'key' | 'destroyKey'>, master: Buffer) {
    this.wrapKey = wrapKeyOf(master);
    this.markKey = Buffer.from(hkdfSync('sha256', master, Buffer.alloc(0), 'berth mark 1', 32));
  }

  /**
   * A key that another server wrapped, wrapped for this one; nothing is kept.
   * @throws Unreadable when the other's master key does not open it
   */
  adopt(id: string, wrapped: Uint8Array, master: Buffer): Buffer {
    return this.wrap(unwrap(wrapKeyOf(master), id, wrapped, 'the backup\'s'));
  }

  private wrap(key: Buffer): Buffer {
    const { iv, ct, tag } = encrypt(this.wrapKey, key);
    return Buffer.concat([iv, tag, ct]);
  }

  /** Equal for equal texts on this server, and of no use for guessing them: 24 hex digits. */
  mark(text: string): string {
    return createHmac('sha256', this.markKey).update(text).digest('hex').slice(0, 24);
  }

  /** A new key, wrapped; nothing is kept. */
  fresh(): Buffer {
    return this.wrap(randomBytes(32));
  }

  /** Makes the key `id`; call once, when the app is made. */
  async createKey(id: string): Promise<void> {
    this.keys.delete(id);
    await this.store.putKey(id, this.fresh());
  }

  /** Makes the key `id` where there is none. */
  async requireKey(id: string): Promise<void> {
    if ((await this.store.key(id)) === null) await this.createKey(id);
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
    if (known && known.until > performance.now()) return known.key;
    this.keys.delete(id);
    const wrapped = await this.store.key(id);
    if (!wrapped) throw new Unreadable(id, 'was destroyed');
    const key = unwrap(this.wrapKey, id, wrapped, "this server's");
    this.keys.set(id, { key, until: performance.now() + KEEP_MS });
    return key;
  }
}
