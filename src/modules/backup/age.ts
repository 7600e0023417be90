import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';

/**
 * The age file format, version 1, with a passphrase (https://age-encryption.org/v1): `age -d` opens what this writes, and the other way.
 * Header: the file's key under scrypt and ChaCha20-Poly1305, with a MAC. Body: chunks of 64 KiB, each sealed under its number, the last one marked.
 */
const MAGIC = 'age-encryption.org/v1\n';
const CIPHER = 'chacha20-poly1305';
const CHUNK = 64 * 1024;
const TAG = 16;
/** scrypt's cost as a power of two: 128 MB and half a second */
const WORK = 17;
const WORK_MAX = 20;
const HEADER_MAX = 64 * 1024;

export class WrongPassphrase extends Error {}
export class BrokenCipher extends Error {}

export const isAge = (start: Buffer): boolean => start.subarray(0, MAGIC.length).toString('latin1') === MAGIC;

const base64 = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '');
const hkdf = (key: Buffer, salt: Buffer, info: string): Buffer => Buffer.from(hkdfSync('sha256', key, salt, info, 32));
const macOf = (fileKey: Buffer, header: string): Buffer => createHmac('sha256', hkdf(fileKey, Buffer.alloc(0), 'header')).update(header, 'latin1').digest();

function wrapKey(passphrase: string, salt: Buffer, work: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(passphrase, Buffer.concat([Buffer.from('age-encryption.org/v1/scrypt'), salt]), 32, { N: 2 ** work, r: 8, p: 1, maxmem: 2 ** (work + 10) + (1 << 20) }, (error, key) => (error ? reject(error) : resolve(key)));
  });
}

function seal(key: Buffer, nonce: Buffer, text: Buffer): Buffer {
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG });
  return Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
}

function open(key: Buffer, nonce: Buffer, sealed: Buffer): Buffer {
  if (sealed.length < TAG) throw new BrokenCipher('cut off');
  const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG });
  decipher.setAuthTag(sealed.subarray(-TAG));
  return Buffer.concat([decipher.update(sealed.subarray(0, -TAG)), decipher.final()]);
}

/** Eleven bytes of the chunk's number and one that says whether it is the last. */
function nonceOf(chunk: number, last: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(chunk, 5, 6);
  nonce[11] = last ? 1 : 0;
  return nonce;
}

/** A stream that encrypts what goes through it. */
export async function encrypting(passphrase: string, work = WORK): Promise<Transform> {
  const fileKey = randomBytes(16);
  const salt = randomBytes(16);
  const body = seal(await wrapKey(passphrase, salt, work), Buffer.alloc(12), fileKey);
  const header = `${MAGIC}-> scrypt ${base64(salt)} ${work}\n${base64(body)}\n---`;
  const nonce = randomBytes(16);
  const key = hkdf(fileKey, nonce, 'payload');
  let held: Buffer = Buffer.alloc(0);
  let count = 0;
  const stream = new Transform({
    transform(piece: Buffer, _encoding, done: TransformCallback) {
      held = held.length === 0 ? piece : Buffer.concat([held, piece]);
      // the last chunk is never empty: a full one waits until there is more
      while (held.length > CHUNK) {
        this.push(seal(key, nonceOf(count, false), held.subarray(0, CHUNK)));
        held = held.subarray(CHUNK);
        count += 1;
      }
      done();
    },
    flush(done: TransformCallback) {
      this.push(seal(key, nonceOf(count, true), held));
      done();
    },
  });
  stream.push(Buffer.concat([Buffer.from(`${header} ${base64(macOf(fileKey, header))}\n`, 'latin1'), nonce]));
  return stream;
}

/** What is in the file. @throws WrongPassphrase, BrokenCipher */
export async function* decrypted(source: AsyncIterable<Buffer>, passphrase: string): AsyncGenerator<Buffer> {
  let held: Buffer = Buffer.alloc(0);
  let key: Buffer | null = null;
  let count = 0;
  for await (const piece of source) {
    held = Buffer.concat([held, piece]);
    if (key === null) {
      const end = headerEnd(held);
      if (end < 0 || held.length < end + 16) {
        if (held.length > HEADER_MAX) throw new BrokenCipher('the header has no end');
        continue;
      }
      const fileKey = await fileKeyOf(held.toString('latin1', 0, end), passphrase);
      key = hkdf(fileKey, held.subarray(end, end + 16), 'payload');
      held = held.subarray(end + 16);
    }
    while (held.length > CHUNK + TAG) {
      yield part(key, count, false, held.subarray(0, CHUNK + TAG));
      held = held.subarray(CHUNK + TAG);
      count += 1;
    }
  }
  if (key === null) throw new BrokenCipher('cut off in its header');
  yield part(key, count, true, held);
}

function part(key: Buffer, count: number, last: boolean, sealed: Buffer): Buffer {
  try {
    return open(key, nonceOf(count, last), sealed);
  } catch {
    throw new BrokenCipher(last ? 'altered or cut off at its end' : `altered around byte ${count * (CHUNK + TAG)}`);
  }
}

/** Where the line with the MAC ends, or -1. */
function headerEnd(held: Buffer): number {
  const mac = held.indexOf('\n--- ', 0, 'latin1');
  const end = mac < 0 ? -1 : held.indexOf('\n', mac + 1, 'latin1');
  return end < 0 ? -1 : end + 1;
}

async function fileKeyOf(header: string, passphrase: string): Promise<Buffer> {
  const match = /^age-encryption\.org\/v1\n-> scrypt ([A-Za-z0-9+/]{22}) (\d{1,2})\n([A-Za-z0-9+/]{43})\n--- ([A-Za-z0-9+/]{43})\n$/.exec(header);
  if (!match || Number(match[2]) > WORK_MAX) throw new BrokenCipher('encrypted in a way that this Berth does not read: a passphrase is what it takes');
  const [, salt = '', work = '', body = '', mac = ''] = match;
  let fileKey: Buffer;
  try {
    fileKey = open(await wrapKey(passphrase, Buffer.from(salt, 'base64'), Number(work)), Buffer.alloc(12), Buffer.from(body, 'base64'));
  } catch {
    throw new WrongPassphrase('the passphrase does not open it');
  }
  if (!timingSafeEqual(macOf(fileKey, header.slice(0, header.lastIndexOf('---') + 3)), Buffer.from(mac, 'base64'))) throw new BrokenCipher('the header was altered');
  return fileKey;
}
