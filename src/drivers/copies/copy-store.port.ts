/** One kept copy. */
export interface Copy {
  /** parts of letters, digits, `.`, `_`, `-` with `/` between them */
  readonly key: string;
  readonly bytes: number;
  /** ms since the epoch */
  readonly at: number;
}

/**
 * Where copies are kept that shall outlive what they are of: a folder, or a bucket of an S3 server.
 * @throws StepFailure: `copies.denied`, `copies.missing`, `copies.place` (user), `copies.full`, `copies.away` (machine); an abort throws the signal's reason
 */
export abstract class CopyStore {
  /** For people: `/var/backups/db`, `s3://bucket/prefix`. */
  abstract readonly place: string;
  /** Writes all of it or, when it fails, nothing; one that is there is replaced. Answers how many bytes it took. */
  abstract put(key: string, content: AsyncIterable<Buffer>, signal: AbortSignal): Promise<number>;
  /** @throws StepFailure `copies.gone` (user) when there is none */
  abstract get(key: string, signal: AbortSignal): AsyncIterable<Buffer>;
  /** Those whose key begins with `prefix`, in the order of their keys. */
  abstract list(prefix: string, signal: AbortSignal): Promise<readonly Copy[]>;
  /** One that is gone is no error. */
  abstract remove(key: string, signal: AbortSignal): Promise<void>;
}

/** What opens a bucket. */
export interface CopyKey { readonly id: string; readonly secret: string }

export const isKey = (key: string): boolean => key.length <= 512 && key.split('/').every((part) => /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/.test(part));
