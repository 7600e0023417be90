import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { Decrypter, Encrypter } from 'age-encryption';
import { describe, expect, it } from 'vitest';
import { decrypted, encrypting } from './age.js';

const CHUNK = 64 * 1024;
const SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17];
const WORK = 2;
const plain = (size: number): Buffer => Buffer.from(Array.from({ length: size }, (_, i) => (i * 31) & 255));

/** The payload is ours, for its speed; the library, which has its own, says whether it is age's. */
describe('age', () => {
  it('the library opens what we write', async () => {
    for (const size of SIZES) {
      const stream = await encrypting('pass', WORK);
      stream.end(plain(size));
      const decrypter = new Decrypter();
      decrypter.addPassphrase('pass');
      expect(Buffer.from(await decrypter.decrypt(await buffer(stream))).equals(plain(size)), `${size} bytes`).toBe(true);
    }
  });
  it('we open what the library writes, in whatever pieces it comes', async () => {
    for (const size of SIZES) {
      const encrypter = new Encrypter();
      encrypter.setScryptWorkFactor(WORK);
      encrypter.setPassphrase('pass');
      const sealed = Buffer.from(await encrypter.encrypt(plain(size)));
      for (const piece of [7001, sealed.length]) {
        const pieces = Readable.from(Array.from({ length: Math.ceil(sealed.length / piece) }, (_, i) => sealed.subarray(i * piece, (i + 1) * piece)));
        expect((await buffer(decrypted(pieces, 'pass'))).equals(plain(size)), `${size} bytes`).toBe(true);
      }
    }
  });
});
