import { createCipheriv, createDecipheriv, hkdfSync, randomBytes, scrypt } from 'node:crypto';
import { Transform, type Duplex } from 'node:stream';
import { promisify } from 'node:util';
import { Decrypter, Encrypter, Stanza, type Identity, type Recipient } from 'age-encryption';

/** Archives under a passphrase in the age file format (https://age-encryption.org/v1): `age -d` opens what this writes, and the other way. */

export class WrongPassphrase extends Error {}
export class BrokenCipher extends Error {}

const MAGIC = 'age-encryption.org/v1\n';
/** scrypt's cost as a power of two */
const WORK = 17;

const WORK_MAX = 20;
const CIPHER = 'chacha20-poly1305';
const NONCE = Buffer.alloc(12);

/** OpenSSL's scrypt in a thread of its own: the library's would hold the event loop for seconds. */
function keyOf(passphrase: string, salt: Buffer, work: number): Promise<Buffer> {
  const N = 2 ** work;
  const ask = promisify(scrypt) as (password: string, salt: Buffer, length: number, options: object) => Promise<Buffer>;
  return ask(passphrase, Buffer.concat([Buffer.from('age-encryption.org/v1/scrypt'), salt]), 32, { N, r: 8, p: 1, maxmem: 128 * N * 8 + (1 << 20) });
}

class PassphraseRecipient implements Recipient {
  constructor(private readonly passphrase: string, private readonly work: number) {}

  async wrapFileKey(fileKey: Uint8Array): Promise<Stanza[]> {
    const salt = randomBytes(16);
    const cipher = createCipheriv(CIPHER, await keyOf(this.passphrase, salt, this.work), NONCE, { authTagLength: 16 });
    const body = Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]);
    return [new Stanza(['scrypt', salt.toString('base64').replace(/=+$/, ''), String(this.work)], body)];
  }
}

class PassphraseIdentity implements Identity {
  constructor(private readonly passphrase: string) {}

  async unwrapFileKey(stanzas: Stanza[]): Promise<Uint8Array | null> {
    const [stanza] = stanzas;
    if (stanza?.args[0] !== 'scrypt') throw new Error('it was encrypted to keys and not with a passphrase');
    const salt = Buffer.from(stanza.args[1] ?? '', 'base64');
    const work = Number(stanza.args[2]);
    if (stanzas.length !== 1 || stanza.args.length !== 3 || salt.length !== 16 || stanza.body.length !== 32 || !Number.isInteger(work) || work < 1) throw new Error('its header is damaged');
    if (work > WORK_MAX) throw new Error(`opening it would take too long (scrypt work ${work}, at most ${WORK_MAX})`);
    const decipher = createDecipheriv(CIPHER, await keyOf(this.passphrase, salt, work), NONCE, { authTagLength: 16 });
    decipher.setAuthTag(stanza.body.subarray(16));
    try {
      return Buffer.concat([decipher.update(stanza.body.subarray(0, 16)), decipher.final()]);
    } catch {
      return null;
    }
  }
}

export const isAge = (start: Buffer): boolean => start.subarray(0, MAGIC.length).toString('latin1') === MAGIC;

/** The payload: pieces of so many bytes, each sealed under its number and whether it is the last one. By OpenSSL, in a tenth of the library's time. */
const CHUNK = 64 * 1024;
const TAG = 16;
const payloadKey = (fileKey: Uint8Array, nonce: Uint8Array): Buffer => Buffer.from(hkdfSync('sha256', fileKey, nonce, 'payload', 32));

class Chunks {
  private readonly nonce = Buffer.alloc(12);
  private number = 0;

  constructor(private readonly key: Buffer) {}

  private next(last: boolean): Buffer {
    this.nonce.writeUIntBE(this.number, 5, 6);
    this.nonce[11] = last ? 1 : 0;
    this.number += 1;
    return this.nonce;
  }

  seal(plain: Buffer, last: boolean): Buffer {
    const cipher = createCipheriv(CIPHER, this.key, this.next(last), { authTagLength: TAG });
    const body = cipher.update(plain);
    cipher.final();
    return Buffer.concat([body, cipher.getAuthTag()]);
  }

  /** @throws when a bit of it, its place or its being the last one is another */
  open(sealed: Buffer, last: boolean): Buffer {
    if (sealed.length < TAG || (sealed.length === TAG && this.number > 0)) throw new Error('its last piece is missing');
    const decipher = createDecipheriv(CIPHER, this.key, this.next(last), { authTagLength: TAG });
    decipher.setAuthTag(sealed.subarray(-TAG));
    const plain = decipher.update(sealed.subarray(0, -TAG));
    decipher.final();
    return plain;
  }
}

/** Cuts into pieces of one size; the last one, which may be shorter, is what is left at the end. */
class Cutter {
  private held: Buffer;
  private used = 0;

  constructor(private readonly size: number) {
    this.held = Buffer.alloc(size);
  }

  /** Calls for each whole piece that something comes after. Its bytes are good until `each` returns. */
  push(piece: Buffer, each: (whole: Buffer) => void): void {
    for (let at = 0; at < piece.length;) {
      if (this.used === this.size) {
        each(this.held);
        this.used = 0;
      }
      const n = piece.copy(this.held, this.used, at);
      this.used += n;
      at += n;
    }
  }

  get rest(): Buffer {
    return this.held.subarray(0, this.used);
  }
}

/** A stream that encrypts what goes through it. */
export async function encrypting(passphrase: string, work = WORK): Promise<Duplex> {
  const encrypter = new Encrypter();
  const recipient = new PassphraseRecipient(passphrase, work);
  let fileKey: Uint8Array | null = null;
  encrypter.addRecipient({ wrapFileKey: (key) => { fileKey = key; return recipient.wrapFileKey(key); } });
  // the library makes header and nonce; of nothing, its payload is one tag
  const head = Buffer.from(await encrypter.encrypt(new Uint8Array(0))).subarray(0, -TAG);
  const chunks = new Chunks(payloadKey(fileKey!, head.subarray(-16)));
  const cutter = new Cutter(CHUNK);
  const stream = new Transform({
    readableHighWaterMark: 1 << 20, writableHighWaterMark: 1 << 20,
    transform(piece: Buffer, _, done) {
      cutter.push(piece, (whole) => { this.push(chunks.seal(whole, false)); });
      done();
    },
    flush(done) {
      this.push(chunks.seal(cutter.rest, true));
      done();
    },
  });
  stream.push(head);
  return stream;
}

/** most bytes that a header may have */
const HEADER_MAX = 64 * 1024;

/** Header and nonce are the first bytes; answers them, and what else came with them. */
async function readHead(pieces: AsyncIterator<Buffer>): Promise<{ header: Buffer; nonce: Buffer; rest: Buffer }> {
  let held: Buffer = Buffer.alloc(0);
  for (;;) {
    const mac = held.indexOf('\n--- ');
    const end = mac === -1 ? -1 : held.indexOf('\n', mac + 1) + 1;
    if (end > 0 && held.length >= end + 16) return { header: held.subarray(0, end), nonce: held.subarray(end, end + 16), rest: held.subarray(end + 16) };
    const next = await pieces.next();
    if (next.done || (end <= 0 && held.length > HEADER_MAX)) throw new BrokenCipher('cannot be opened: its header is damaged');
    held = Buffer.concat([held, next.value]);
  }
}

/** What is in the file. @throws WrongPassphrase, BrokenCipher */
export async function* decrypted(source: AsyncIterable<Buffer>, passphrase: string): AsyncGenerator<Buffer> {
  const pieces = source[Symbol.asyncIterator]();
  try {
    const { header, nonce, rest } = await readHead(pieces);
    const decrypter = new Decrypter();
    decrypter.addIdentity(new PassphraseIdentity(passphrase));
    const fileKey = await decrypter.decryptHeader(header).catch((error: Error) => {
      throw /no identity matched/i.test(error.message) ? new WrongPassphrase('the passphrase does not open it') : new BrokenCipher(`cannot be opened: ${error.message}`);
    });
    const chunks = new Chunks(payloadKey(fileKey, nonce));
    const cutter = new Cutter(CHUNK + TAG);
    const open = (sealed: Buffer, last: boolean): Buffer => {
      try {
        return chunks.open(sealed, last);
      } catch (error) {
        throw new BrokenCipher(`is altered or cut off: ${(error as Error).message}`);
      }
    };
    for (let next: IteratorResult<Buffer> = { value: rest, done: false }; !next.done; next = await pieces.next()) {
      const opened: Buffer[] = [];
      cutter.push(next.value, (whole) => opened.push(open(whole, false)));
      yield* opened;
    }
    yield open(cutter.rest, true);
  } finally {
    await pieces.return?.();
  }
}
