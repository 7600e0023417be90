import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';
import { Duplex } from 'node:stream';
import { ReadableStream } from 'node:stream/web';
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

/** A stream that encrypts what goes through it. */
export async function encrypting(passphrase: string, work = WORK): Promise<Duplex> {
  const encrypter = new Encrypter();
  encrypter.addRecipient(new PassphraseRecipient(passphrase, work));
  const plain = new TransformStream<Uint8Array, Uint8Array>();
  const readable = await encrypter.encrypt(plain.readable);
  return Duplex.fromWeb({ writable: plain.writable, readable } as Parameters<typeof Duplex.fromWeb>[0]);
}

/** What is in the file. @throws WrongPassphrase, BrokenCipher */
export async function* decrypted(source: AsyncIterable<Buffer>, passphrase: string): AsyncGenerator<Buffer> {
  const decrypter = new Decrypter();
  decrypter.addIdentity(new PassphraseIdentity(passphrase));
  let plain: ReadableStream<Uint8Array>;
  try {
    plain = (await decrypter.decrypt(ReadableStream.from(source) as never)) as unknown as ReadableStream<Uint8Array>;
  } catch (error) {
    const { message } = error as Error;
    if (/no identity matched/i.test(message)) throw new WrongPassphrase('the passphrase does not open it');
    throw new BrokenCipher(`cannot be opened: ${message}`);
  }
  try {
    for await (const piece of plain) yield Buffer.from(piece);
  } catch (error) {
    throw new BrokenCipher(`is altered or cut off: ${(error as Error).message}`);
  }
}
