import { createHash, type Hash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar-stream';
import { StepFailure } from '../../../events/step.js';
import type { Count } from '../../../events/types/copy.events.js';
import { BrokenCipher, decrypted, encrypting, WrongPassphrase } from '../../../modules/backup/age.js';

const PIECE = 1 << 20;

export interface Measured { readonly bytes: number; readonly sha256: string }

/** What went through. */
export class Measure {
  private readonly hash: Hash = createHash('sha256');
  private bytes = 0;

  async *through(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of content) {
      this.hash.update(piece);
      this.bytes += piece.length;
      yield piece;
    }
  }

  end(): Measured {
    return { bytes: this.bytes, sha256: this.hash.digest('hex') };
  }
}

/** @param passphrase null: as it is */
export async function* encrypted(content: AsyncIterable<Buffer>, passphrase: string | null): AsyncGenerator<Buffer> {
  if (passphrase === null) return yield* content;
  const cipher = await encrypting(passphrase);
  const fed = pipeline(content, cipher);
  fed.catch(() => {}); // it is thrown below, as the cipher's own end
  yield* cipher as AsyncIterable<Buffer>;
  await fed;
}

/** @throws StepFailure `copies.passphrase`, `copies.altered` */
export async function* opened(content: AsyncIterable<Buffer>, passphrase: string | null): AsyncGenerator<Buffer> {
  if (passphrase === null) return yield* content;
  try {
    yield* decrypted(content, passphrase);
  } catch (error) {
    if (error instanceof WrongPassphrase) throw new StepFailure('copies.passphrase', 'The passphrase does not open this backup', 'give the one that it was made with: --passphrase-stdin', 'user', { cause: error });
    if (error instanceof BrokenCipher) throw new StepFailure('copies.altered', `This backup ${error.message}`, 'choose another one', 'user', { cause: error });
    throw error;
  }
}

/** Writes a new file into the folder, which is then all that is in it: whole, or nothing of it. */
export async function spool(folder: string, name: string, content: AsyncIterable<Buffer>, signal: AbortSignal): Promise<Measured> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // what earlier attempts left
  for (const other of await readdir(folder)) await rm(join(folder, other), { recursive: true, force: true });
  const file = join(folder, name);
  const measure = new Measure();
  try {
    await pipeline(measure.through(content), createWriteStream(file, { mode: 0o600, flags: 'wx', highWaterMark: PIECE }), { signal });
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  }
  return measure.end();
}

/** What lies in the spool. @throws StepFailure `copies.spool` when it is not what was put there */
export async function* spooled(file: string, expected: Measured): AsyncGenerator<Buffer> {
  const gone = (cause?: unknown): StepFailure => new StepFailure('copies.spool', 'What was dumped is not there any more as it was', 'take a new one: this one cannot go on', 'user', { cause });
  const measure = new Measure();
  try {
    yield* measure.through(createReadStream(file, { highWaterMark: PIECE }) as AsyncIterable<Buffer>);
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'ENOENT' ? gone(error) : error;
  }
  const { bytes, sha256 } = measure.end();
  if (bytes !== expected.bytes || sha256 !== expected.sha256) throw gone();
}

/** What a tar holds, without the folder that all of it lies in. */
export class Tally {
  private files = 0;
  private bytes = 0;

  /** @throws when the tar breaks off */
  async *through(tar: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    const reader = extract();
    let failed: Error | null = null;
    const ended = new Promise<void>((done) => {
      reader.on('finish', done);
      reader.on('error', (error: Error) => { failed = error; done(); });
    });
    reader.on('entry', (header, content, next) => {
      this.files += 1;
      this.bytes += header.size ?? 0;
      content.on('end', next);
      content.resume();
    });
    for await (const piece of tar) {
      if (failed) break;
      if (!reader.write(piece)) await Promise.race([once(reader, 'drain'), ended]);
      yield piece;
    }
    reader.end(undefined as never);
    await ended;
    if (failed) throw new StepFailure('copies.tar', `What was read breaks off: ${(failed as Error).message}`, null, 'machine', { cause: failed });
  }

  get count(): Count {
    return { files: Math.max(0, this.files - 1), bytes: this.bytes };
  }
}

/** Reads to the end. */
export async function drain(content: AsyncIterable<Buffer>): Promise<void> {
  for await (const _ of content) { /* to the end */ }
}
