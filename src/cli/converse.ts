import { spawnSync } from 'node:child_process';
import { createReadStream, fstatSync } from 'node:fs';
import { openDoor, type Door } from './door.js';
import { Input } from './input.js';
import { leave, readRefusal, refusal, unreachable } from './output.js';
import { CLI_PATH, decode, encode, FRAMES, type ClientFrame, type CliRequest } from './protocol.js';

/** Exit code of a program whose reader went away, as the shell shows SIGPIPE. */
const READER_GONE = 141;

export interface Conversation {
  readonly socketPath: string;
  readonly argv: readonly string[];
  readonly as?: string;
  /** whether files named on the command line are this program's to read */
  readonly files: boolean;
}

/** Runs one command at the API with this process's stdin, stdout and stderr, and ends the process with the command's code. */
export function converse(what: Conversation): void {
  const terminal = process.stdout.isTTY === true;
  const typed = terminal && process.stdin.isTTY === true;
  const hello: CliRequest = {
    argv: what.argv,
    stdin: readable(),
    columns: terminal ? process.stdout.columns : 0,
    color: terminal && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb',
    ...(typed && { terminal: { term: process.env['TERM'] ?? 'dumb', rows: process.stdout.rows } }),
    ...(what.as !== undefined && { as: what.as }),
  };
  process.stdout.on('error', () => { process.exit(READER_GONE); });
  const full = new Set<NodeJS.WriteStream>();
  const taken = (by: NodeJS.WriteStream): void => { if (full.delete(by) && full.size === 0) door.resume(); };
  /** Writes, and hears no more until a slow reader has taken it. */
  const write = (to: NodeJS.WriteStream, content: string | Buffer): void => {
    if (to.destroyed || to.write(content) || full.has(to)) return;
    if (full.size === 0) door.pause();
    full.add(to);
    to.once('drain', () => { taken(to); });
  };
  // nobody to tell; and nothing that would have to be waited for
  process.stderr.on('error', () => { taken(process.stderr); });
  const input = new Input(() => process.stdin);
  let status = 0;
  let exit: number | null = null;
  let body = '';
  const door = openDoor(what.socketPath, CLI_PATH, FRAMES, null, {
    status: (code) => { status = code; },
    line: (text) => {
      if (exit !== null) return;
      if (status !== 200) {
        body += text;
        return;
      }
      const frame = decode(text);
      if (frame === null) return;
      if ('o' in frame) write(process.stdout, frame.o);
      else if ('e' in frame) write(process.stderr, frame.e);
      else if ('exit' in frame) {
        exit = Number.isInteger(frame.exit) ? frame.exit & 255 : 1;
        door.close();
        leave(exit);
      } else if ('ask' in frame) {
        write(process.stderr, frame.ask);
        const typed = frame.hidden ? hiddenLine : (then: (line: string | null) => void): void => { input.line(then); };
        typed((line) => { answer(door, line === null ? { error: 'no terminal' } : { answer: line }); });
      } else if ('need' in frame) {
        if (frame.need === 'stdin') pump(door, input);
        else if (frame.need === 'terminal') keys(door);
        else if (!what.files) answer(door, { error: 'files are read on your side: pipe it in' });
        else pump(door, new Input(() => createReadStream(frame.path)), frame.path);
      } // else: a newer server's frame that an older client may leave out
    },
    bytes: (piece) => { if (exit === null && status === 200) write(process.stdout, piece); },
    end: () => {
      if (exit !== null) return;
      process.stderr.write(status !== 0 && status !== 200 ? readRefusal(status, body) : refusal('the connection to Berth ended before the command did'));
      leave(1, true);
    },
    fail: (code) => {
      process.stderr.write(unreachable(what.socketPath, code));
      leave(1);
    },
  });
  door.send(encode(hello));
}

/** Every key as it is typed, and every change of the window's size. Node gives the terminal back when this program ends. */
function keys(door: Door): void {
  const { stdin, stdout } = process;
  stdin.setRawMode(true);
  // Node's raw mode goes on making \r\n of the program's \n; where there is no stty, that is all that is wrong
  spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] });
  stdin.on('data', (piece: Buffer) => { door.send(piece); });
  stdin.on('end', () => { door.send(encode({ end: true })); });
  stdout.on('resize', () => { door.send(encode({ size: [stdout.columns, stdout.rows] })); });
}

/** A line from the terminal that is not shown while it is typed; null without a terminal. */
function hiddenLine(then: (line: string | null) => void): void {
  const { stdin } = process;
  if (!stdin.isTTY) return then(null);
  let line = '';
  stdin.setRawMode(true).setEncoding('utf8').resume();
  const done = (value: string | null): void => {
    stdin.off('data', onData).setRawMode(false).pause();
    process.stderr.write('\n');
    then(value);
  };
  const onData = (text: string): void => {
    for (const key of text) {
      if (key === '\r' || key === '\n') return done(line);
      if (key === '\u0003' || key === '\u0004') {
        stdin.setRawMode(false);
        process.exit(130);
      }
      line = key === '\u007f' || key === '\b' ? line.slice(0, -1) : line + key;
    }
  };
  stdin.on('data', onData);
}

/** Whether fd 0 is something that can hold data without a person typing it. */
function readable(): boolean {
  try {
    const found = fstatSync(0);
    return found.isFIFO() || found.isFile() || found.isSocket();
  } catch {
    return false;
  }
}

function answer(door: Door, frame: ClientFrame): void {
  door.send(encode(frame));
}

/** Sends everything that `input` holds, a piece at a time, no faster than the API takes it. */
function pump(door: Door, input: Input, path: string | null = null): void {
  const next = (): void => input.piece((piece) => {
    if (piece === null) {
      const failure = input.failure;
      answer(door, failure === null ? { end: true } : { error: path === null ? failure : `${path}: ${failure}` });
      return;
    }
    // behind an immediate: what the API has already answered is read before more is sent to it
    setImmediate(() => {
      if (door.send(piece)) next();
      else door.drained(next);
    });
  });
  next();
}
