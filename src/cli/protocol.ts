/**
 * The wire between the small programs (`berth`, the SSH shell, the git hook) and the API. Types and two pure helpers; imported by those
 * programs and by `src/modules/commands`, nobody else.
 *
 * HTTP/1.1 over a unix socket; bodies are newline-delimited JSON, one frame a line, in both directions at once. Of `/v1/cli` they may hold
 * bytes as they are, too: `{"bytes":n}` and a newline, then n bytes (`FRAMES`, a type of its own: program and API of different versions
 * refuse each other before anything is done).
 *
 * Rules for both:
 * - an empty line is a heartbeat and means nothing;
 * - what ends without `{exit}` (reply), `{end}` or `{error}` (input) was cut off, and is never taken for the whole.
 *
 * Rules for the server:
 * - the request body of `/v1/cli` stays open for as long as the command runs: no request timeout may apply to it, and the reply starts before it ends;
 * - after `{exit}` the client closes. The server goes on reading (and dropping) input until then, for as long as it hears heartbeats of a client
 *   whose reader is slow: closing first could cost the client the last frames;
 * - a client that closes earlier has interrupted the command.
 */
export const CLI_PATH = '/v1/cli';
export const GIT_OPEN_PATH = '/v1/git/open';
export const GIT_PUSH_PATH = '/v1/git/push';

/** Content type of a streamed body. */
export const NDJSON = 'application/x-ndjson';
/** The same with bytes between the lines. Another name for another way of saying it. */
export const FRAMES = 'application/vnd.berth.frames';

/** First line of a `/v1/cli` request. */
export interface CliRequest {
  /** the words after `berth`, as they were typed */
  readonly argv: readonly string[];
  /** a pipe, socket or file is there to read (not a terminal, not /dev/null) */
  readonly stdin: boolean;
  /** width of the terminal; 0 = the output is not a terminal */
  readonly columns: number;
  readonly color: boolean;
  /** what both ends of a conversation can be typed at and shown on; absent where they are not one terminal */
  readonly terminal?: { readonly term: string; readonly rows: number };
  /** who is calling, `key:<name>`; only believed on `ssh.sock` */
  readonly as?: string;
}

/** What the client answers to `need` and `ask`, beside the bytes of stdin or of the file asked for. */
export type ClientFrame =
  /** that was all of it */
  | { readonly end: true }
  /** the terminal's size has changed: columns and rows */
  | { readonly size: readonly [number, number] }
  /** one line typed, without its newline */
  | { readonly answer: string }
  /** what was asked for cannot be had */
  | { readonly error: string };

/** Text for the two outputs, written as it is: newlines are part of it. */
export type OutputFrame = { readonly o: string } | { readonly e: string };
/** To the pusher's terminal, but not an output frame: it is said once to whoever waits now, and not counted. */
export interface NoteFrame { readonly note: string }
/** Always the last frame. 0–255 */
export interface ExitFrame { readonly exit: number }

/** Beside bytes, which are for standard output. */
export type ServerFrame =
  | OutputFrame
  | NoteFrame
  | ExitFrame
  | { readonly need: 'stdin' }
  /** from now on every key is sent as it is typed, and what comes is shown as it is */
  | { readonly need: 'terminal' }
  | { readonly need: 'file'; readonly path: string }
  /** `hidden`: what is typed is not shown */
  | { readonly ask: string; readonly hidden?: boolean };

/** Body of `/v1/git/open`. */
export interface GitOpenRequest {
  readonly service: GitService;
  /** the app's name, as typed but without `~/`, slashes at its ends and `.git` */
  readonly repo: string;
  readonly actor: string;
}
export type GitService = 'git-receive-pack' | 'git-upload-pack';
export interface GitOpenReply {
  /** absolute path of the bare repository */
  readonly repo: string;
  readonly app: string;
  readonly name: string;
  /** settings for this run of git: `receive.denyDeletes=true` */
  readonly config: readonly string[];
}

export interface RefUpdate { readonly old: string; readonly new: string; readonly ref: string }

/** Body of `/v1/git/push`; the reply streams OutputFrames, NoteFrames, heartbeats and one ExitFrame. */
export interface GitPushRequest {
  readonly app: string;
  readonly name: string;
  readonly updates: readonly RefUpdate[];
  /** folder of the pushed objects, or null when git made none (only deletions) */
  readonly quarantine: string | null;
  readonly actor: string;
  /** the same for every attempt of one push */
  readonly push: string;
  /** output frames already seen: the reply goes on behind them. 0 the first time */
  readonly after: number;
  /** the pusher went away after this many frames; only the exit is waited for */
  readonly gone?: number;
}

/** Body of every reply that is not 200. */
export interface Refusal { readonly message: string; readonly hint?: string | null }

/** A frame as it goes over the wire. */
export function encode(frame: CliRequest | ClientFrame | ServerFrame): string {
  return `${JSON.stringify(frame)}\n`;
}

/** A frame from the wire, or null for a line that a lost connection has cut off. */
export function decode(line: string): ServerFrame | null {
  try {
    return JSON.parse(line) as ServerFrame;
  } catch {
    return null;
  }
}

/** What stands before so many bytes. */
export const headOf = (bytes: Uint8Array): string => `{"bytes":${bytes.length}}\n`;
const HEAD = /^\{"bytes":(\d{1,10})\}$/;

const NEWLINE = 0x0a;

/** Cuts a stream into lines and the bytes between them, whatever the pieces it comes in; a character split between two pieces stays whole. */
export class Frames {
  private held: Buffer[] = [];
  private size = 0;
  private left = 0;

  /** @param limit longest line in bytes; a longer one throws */
  constructor(private readonly limit = 64 * 1024 * 1024) {}

  /** The lines that this piece completes, without their newlines, and what it has of the bytes between: as they come, not one buffer a head. */
  push(piece: Buffer): (string | Buffer)[] {
    const found: (string | Buffer)[] = [];
    for (let from = 0; from < piece.length;) {
      if (this.left > 0) {
        const bytes = piece.subarray(from, from + this.left);
        this.left -= bytes.length;
        from += bytes.length;
        found.push(bytes);
        continue;
      }
      const at = piece.indexOf(NEWLINE, from);
      if (at === -1) {
        this.held.push(from === 0 ? piece : piece.subarray(from));
        this.size += piece.length - from;
        if (this.size > this.limit) throw new Error(`a line is longer than ${this.limit} bytes`);
        break;
      }
      const line = this.line(piece.subarray(from, at));
      const head = HEAD.exec(line);
      if (head) this.left = Number(head[1]);
      else found.push(line);
      from = at + 1;
    }
    return found;
  }

  /** What stands behind the last newline, when the stream is over; a reply of one JSON document need not have any. */
  end(): string {
    return this.line(Buffer.alloc(0));
  }

  private line(rest: Buffer): string {
    const line = this.held.length === 0 ? rest.toString('utf8') : Buffer.concat([...this.held, rest]).toString('utf8');
    this.held = [];
    this.size = 0;
    return line;
  }
}
