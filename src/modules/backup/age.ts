import { Duplex } from 'node:stream';
import { ReadableStream } from 'node:stream/web';
import { Decrypter, Encrypter } from 'age-encryption';

/** Archives under a passphrase in the age file format (https://age-encryption.org/v1): `age -d` opens what this writes, and the other way. */

export class WrongPassphrase extends Error {}
export class BrokenCipher extends Error {}

const MAGIC = 'age-encryption.org/v1\n';
/** scrypt's cost as a power of two */
const WORK = 17;

export const isAge = (start: Buffer): boolean => start.subarray(0, MAGIC.length).toString('latin1') === MAGIC;

/** A stream that encrypts what goes through it. */
export async function encrypting(passphrase: string, work = WORK): Promise<Duplex> {
  const encrypter = new Encrypter();
  encrypter.setPassphrase(passphrase);
  encrypter.setScryptWorkFactor(work);
  const plain = new TransformStream<Uint8Array, Uint8Array>();
  const readable = await encrypter.encrypt(plain.readable);
  return Duplex.fromWeb({ writable: plain.writable, readable } as Parameters<typeof Duplex.fromWeb>[0]);
}

/** What is in the file. @throws WrongPassphrase, BrokenCipher */
export async function* decrypted(source: AsyncIterable<Buffer>, passphrase: string): AsyncGenerator<Buffer> {
  const decrypter = new Decrypter();
  decrypter.addPassphrase(passphrase);
  let plain: ReadableStream<Uint8Array>;
  try {
    plain = (await decrypter.decrypt(ReadableStream.from(source) as never)) as unknown as ReadableStream<Uint8Array>;
  } catch (error) {
    const { message } = error as Error;
    if (/no identity matched/i.test(message)) throw new WrongPassphrase('the passphrase does not open it');
    throw new BrokenCipher(message);
  }
  try {
    for await (const piece of plain) yield Buffer.from(piece);
  } catch (error) {
    throw new BrokenCipher(`altered or cut off: ${(error as Error).message}`);
  }
}
