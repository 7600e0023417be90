import { createHash } from 'node:crypto';

/**
 * A Java trust store out of a PEM bundle: JVMs cannot read PEM, and no `keytool` is at hand.
 * @param password the store's; it seals nothing that is secret
 */
export function jks(pem: string, password = 'changeit'): Buffer {
  const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
  const u32 = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value >>> 0);
    return bytes;
  };
  const text = (value: string): Buffer => Buffer.concat([u16(Buffer.byteLength(value)), Buffer.from(value)]);
  const certificates = [...pem.matchAll(/-----BEGIN CERTIFICATE-----([^-]+)-----END/g)].map((match) => Buffer.from(match[1] ?? '', 'base64'));
  const entries = certificates.flatMap((der, index) => [u32(2), text(`ca${index}`), Buffer.alloc(8), text('X.509'), u32(der.length), der]);
  const body = Buffer.concat([u32(0xfeedfeed), u32(2), u32(certificates.length), ...entries]);
  const seal = createHash('sha1').update(Buffer.from(password, 'utf16le').swap16()).update('Mighty Aphrodite').update(body).digest();
  return Buffer.concat([body, seal]);
}
