import { crc32, deflateRawSync } from 'node:zlib';

export interface ZipMember { readonly name: string | Buffer; readonly data?: string | Buffer; /** Unix mode, type included */ readonly mode?: number; readonly deflate?: boolean; /** the size that the archive claims */ readonly claims?: number; readonly flags?: number; readonly method?: number }

/** A zip with exactly these members, however odd: no library would write most of them. */
export function zipOf(members: readonly ZipMember[]): Buffer {
  const parts: Buffer[] = [];
  const central: Buffer[] = [];
  let at = 0;
  for (const { name, data = '', mode = 0o100644, deflate = false, claims, flags = 0x800, method } of members) {
    const bytes = Buffer.from(data as string);
    const body = deflate ? deflateRawSync(bytes) : bytes;
    const title = Buffer.from(name as string);
    const head = Buffer.alloc(26);
    head.writeUInt16LE(20, 0);
    head.writeUInt16LE(flags, 2);
    head.writeUInt16LE(method ?? (deflate ? 8 : 0), 4);
    head.writeUInt32LE(crc32(bytes), 10);
    head.writeUInt32LE(body.length, 14);
    head.writeUInt32LE(claims ?? bytes.length, 18);
    head.writeUInt16LE(title.length, 22);
    parts.push(Buffer.from('PK\x03\x04', 'latin1'), head, title, body);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(mode * 0x10000, 6);
    tail.writeUInt32LE(at, 10);
    central.push(Buffer.from([0x50, 0x4b, 1, 2, 20, 3]), head, tail, title);
    at += 30 + title.length + body.length;
  }
  const list = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(list.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, list, end]);
}
