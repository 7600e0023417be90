import { type ChildProcess, spawn } from 'node:child_process';
import type { Fixture } from '../lib/berth-fixture.js';

/** A command of the fixture's `berth` at a terminal of its own (util-linux's `script`), typed at by a test. */
export class Terminal {
  private readonly child: ChildProcess;
  /** everything that was shown */
  shown = '';
  private readonly ended: Promise<number | null>;

  constructor(private readonly berth: Fixture, command: string, size: { rows: number; columns: number }) {
    this.child = spawn('script', ['-q', '-e', '-c', `stty rows ${size.rows} cols ${size.columns}; ${command}`, '/dev/null'], { env: { ...berth.env, TERM: 'xterm-256color', SHELL: '/bin/sh' }, stdio: ['pipe', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout!, this.child.stderr!]) stream.setEncoding('utf8').on('data', (text: string) => { this.shown += text; });
    this.ended = new Promise((resolve) => { this.child.on('close', resolve); });
  }

  type(text: string): void {
    this.child.stdin!.write(text);
  }

  /** Waits until this is shown, behind what was waited for before. */
  async sees(what: RegExp): Promise<void> {
    await this.berth.until(`${what} at the terminal`, () => Promise.resolve(what.test(this.shown)), 30_000).catch((error: unknown) => { throw new Error(`${String(error)}; shown: ${JSON.stringify(this.shown)}`); });
    this.shown = this.shown.slice(what.exec(this.shown)!.index + what.exec(this.shown)![0].length);
  }

  exit(): Promise<number | null> {
    return this.ended;
  }

  /** The window is closed. */
  close(): void {
    this.child.kill('SIGKILL'); // the kernel tells what runs at it
  }
}
