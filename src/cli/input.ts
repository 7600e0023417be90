import type { Readable } from 'node:stream';

/** Bytes of stdin, given out as lines or as pieces: what one reader left over, the next one gets. */
export class Input {
  private held: Buffer[] = [];
  private ended = false;
  private source: Readable | null = null;
  /** why reading ended before the end, for people; null when it did not */
  failure: string | null = null;
  private wake: (() => void) | null = null;

  /** @param open called at the first read only: a command that reads nothing leaves stdin alone */
  constructor(private readonly open: () => Readable) {}

  /** The next line without its newline, or null when there is none. */
  line(then: (line: string | null) => void): void {
    const all = Buffer.concat(this.held);
    const at = all.indexOf(0x0a);
    if (at === -1 && !this.ended) {
      this.more(() => this.line(then));
      return;
    }
    const line = at === -1 ? all : all.subarray(0, at);
    const rest = at === -1 ? Buffer.alloc(0) : all.subarray(at + 1);
    this.held = rest.length === 0 ? [] : [rest];
    then(at === -1 && all.length === 0 ? null : line.toString('utf8').replace(/\r$/, ''));
  }

  /** The next piece, or null at the end. Nothing is read ahead of the asking. */
  piece(then: (piece: Buffer | null) => void): void {
    const next = this.held.shift();
    if (next !== undefined) then(next);
    else if (this.ended) then(null);
    else this.more(() => this.piece(then));
  }

  private more(wake: () => void): void {
    this.wake = wake;
    const source = this.source ?? this.open();
    if (this.source === null) {
      this.source = source;
      const woken = (): void => {
        const next = this.wake;
        this.wake = null;
        next?.();
      };
      source.on('data', (piece: Buffer) => { this.held.push(piece); source.pause(); woken(); });
      const end = (): void => { this.ended = true; woken(); };
      source.on('end', end);
      source.on('error', (error: NodeJS.ErrnoException) => { this.failure = reason(error); end(); });
    }
    source.resume();
  }
}

const REASONS: Readonly<Record<string, string>> = { ENOENT: 'no such file', EACCES: 'permission denied', EISDIR: 'is a directory' };

function reason(error: NodeJS.ErrnoException): string {
  return REASONS[error.code ?? ''] ?? error.code ?? error.message;
}
