import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { Readable } from 'node:stream';
import { DeleteObjectCommand, GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { StepFailure } from '../../events/step.js';
import type { CopyPlace } from '../../events/types/copy.events.js';
import { type Copy, CopyStore, isKey, type CopyKey } from './copy-store.port.js';

/** bytes of a part: 10,000 of them at most are one object, 160 GiB; two are held in memory */
const PART = 16 << 20;
/** ms of silence until a server is taken for dead */
const SILENCE = 30_000;
const CONNECT = 10_000;

const DENIED = new Set(['AccessDenied', 'InvalidAccessKeyId', 'SignatureDoesNotMatch', 'AllAccessDisabled', 'AccountProblem', 'InvalidSecurity', 'RequestTimeTooSkewed', 'XAdminUserNotFound']);

/** Copies in a bucket, by Amazon's own client. A part of an upload that failed is taken back. */
export class S3Copies extends CopyStore {
  private readonly client: S3Client;
  readonly place: string;

  constructor(private readonly at: Extract<CopyPlace, { type: 's3' }>, key: CopyKey) {
    super();
    this.place = `s3://${at.bucket}/${at.prefix}`.replace(/\/$/, '');
    // proxies of the environment, as for every other program
    const agent = { keepAlive: true, maxSockets: 4, proxyEnv: process.env } as ConstructorParameters<typeof HttpsAgent>[0];
    this.client = new S3Client({
      region: at.region, credentials: { accessKeyId: key.id, secretAccessKey: key.secret },
      // one's own servers have no names for buckets, and not all know Amazon's newer checksums
      ...(at.endpoint !== null && { endpoint: at.endpoint, forcePathStyle: true }),
      requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED',
      // whoever calls tries again, later and in the open
      maxAttempts: 1,
      requestHandler: { connectionTimeout: CONNECT, requestTimeout: SILENCE, socketTimeout: SILENCE, throwOnRequestTimeout: true, httpAgent: new HttpAgent(agent), httpsAgent: new HttpsAgent(agent) },
    });
  }

  private object(key: string): { Bucket: string; Key: string } {
    if (!isKey(key)) throw new Error(`${JSON.stringify(key)} is no key of a copy`);
    return { Bucket: this.at.bucket, Key: this.at.prefix + key };
  }

  async put(key: string, content: AsyncIterable<Buffer>, signal: AbortSignal): Promise<number> {
    let bytes = 0;
    let broken: { error: unknown } | null = null;
    async function* counted(): AsyncGenerator<Buffer> {
      const pieces = content[Symbol.asyncIterator]();
      try {
        for (;;) {
          const next = await pieces.next().catch((error: unknown) => {
            broken = { error };
            throw error;
          });
          if (next.done) return;
          bytes += next.value.length;
          yield next.value;
        }
      } finally {
        await pieces.return?.();
      }
    }
    const upload = new Upload({ client: this.client, params: { ...this.object(key), Body: Readable.from(counted(), { objectMode: false, highWaterMark: 1 << 20 }) }, partSize: PART, queueSize: 1 });
    const stop = (): void => { void upload.abort(); };
    signal.addEventListener('abort', stop, { once: true });
    try {
      signal.throwIfAborted();
      await upload.done();
      return bytes;
    } catch (error) {
      // what was to be written counts more than what became of the upload
      throw broken === null ? this.told(error, key, signal) : (broken as { error: unknown }).error;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  async *get(key: string, signal: AbortSignal): AsyncGenerator<Buffer> {
    try {
      const { Body } = await this.client.send(new GetObjectCommand(this.object(key)), { abortSignal: signal });
      if (!(Body instanceof Readable)) throw new Error('an answer without a body');
      const body = Body;
      const stop = (): void => { body.destroy(new Error('aborted')); };
      signal.addEventListener('abort', stop, { once: true });
      try {
        for await (const piece of body) yield piece as Buffer;
      } finally {
        signal.removeEventListener('abort', stop);
        body.destroy();
      }
    } catch (error) {
      throw this.told(error, key, signal);
    }
  }

  async list(prefix: string, signal: AbortSignal): Promise<readonly Copy[]> {
    const found: Copy[] = [];
    let next: string | undefined;
    try {
      do {
        const page = await this.client.send(new ListObjectsV2Command({ Bucket: this.at.bucket, Prefix: this.at.prefix + prefix, ...(next !== undefined && { ContinuationToken: next }) }), { abortSignal: signal });
        for (const { Key = '', Size = 0, LastModified } of page.Contents ?? []) {
          const key = Key.slice(this.at.prefix.length);
          if (isKey(key)) found.push({ key, bytes: Size, at: LastModified?.getTime() ?? 0 });
        }
        next = page.IsTruncated ? page.NextContinuationToken : undefined;
      } while (next !== undefined);
    } catch (error) {
      throw this.told(error, prefix, signal);
    }
    return found.toSorted((a, b) => (a.key < b.key ? -1 : 1));
  }

  async remove(key: string, signal: AbortSignal): Promise<void> {
    await this.client.send(new DeleteObjectCommand(this.object(key)), { abortSignal: signal }).catch((error: unknown) => { throw this.told(error, key, signal); });
  }

  private told(error: unknown, key: string, signal: AbortSignal): unknown {
    if (signal.aborted) return signal.reason;
    const { name = '', message = '', $metadata, code } = error as { name?: string; message?: string; $metadata?: { httpStatusCode?: number }; code?: string };
    const status = $metadata?.httpStatusCode ?? 0;
    const options = { cause: error };
    if (name === 'NoSuchKey') return new StepFailure('copies.gone', `There is no ${key} in ${this.place} any more`, 'choose another one', 'user', options);
    if (name === 'NoSuchBucket') return new StepFailure('copies.missing', `There is no bucket ${this.at.bucket} ${this.where()}`, 'make it first, or name another', 'user', options);
    if (name === 'PermanentRedirect' || name === 'AuthorizationHeaderMalformed') return new StepFailure('copies.place', `The bucket ${this.at.bucket} is not in the region ${this.at.region}`, 'name its region', 'user', options);
    if (DENIED.has(name) || status === 401 || status === 403) return new StepFailure('copies.denied', `${this.host()} does not let us into ${this.place} (${name || status}): key or secret are wrong, or have no right to it`, 'give the right key', 'user', options);
    if (status === 507 || name === 'QuotaExceeded' || name === 'XMinioStorageFull') return new StepFailure('copies.full', `${this.place} is full`, 'make room there, or keep fewer copies', 'machine', options);
    if (status >= 400 && status < 500 && status !== 408 && status !== 429) return new StepFailure('copies.place', `${this.host()} refuses ${key || this.place}: ${message || name} (${status})`, 'look at its address', 'user', options);
    if (status >= 500 || status === 408 || status === 429) return new StepFailure('copies.away', `${this.host()} answered ${status}${name ? ` (${name})` : ''}`, null, 'machine', options);
    return new StepFailure('copies.away', `${this.host()} does not answer: ${code ? `${code} ` : ''}${message}`, null, 'machine', options);
  }

  private host(): string {
    return this.at.endpoint === null ? `S3 (${this.at.region})` : new URL(this.at.endpoint).host;
  }

  private where(): string {
    return this.at.endpoint === null ? `in ${this.at.region}` : `at ${this.host()}`;
  }
}
