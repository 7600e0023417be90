import { promisify } from 'node:util';
import { zstdCompress, zstdDecompress } from 'node:zlib';

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

/** A long JSON text in a tenth of its length: base64 of zstd. Works beside the event loop. */
export const packed = async (text: string): Promise<string> => (await compress(text)).toString('base64');

/** What was packed; a text that is JSON as it is, from before there was packing. */
export const unpacked = async (text: string): Promise<string> => (/^[[{]/.test(text) ? text : (await decompress(Buffer.from(text, 'base64'))).toString('utf8'));
