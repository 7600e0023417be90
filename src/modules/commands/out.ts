import type { Out } from './command.js';

/** Collects lines for one caller; `write` gets text for standard output or standard error, or bytes for standard output. */
export class FrameOut implements Out {
  constructor(private readonly write: (channel: 'o' | 'e', content: string | Buffer) => void, readonly columns: number, readonly color: boolean, readonly quiet: boolean, readonly verbose: boolean) {}
  line(text = ''): void { this.write('o', `${text}\n`); }
  raw(text: string): void { this.write('o', text); }
  bytes(piece: Buffer): void { this.write('o', piece); }
  info(text: string): void { if (!this.quiet) this.write('o', `-----> ${text}\n`); }
  section(text: string): void { if (!this.quiet) this.write('o', `=====> ${text}\n`); }
  detail(text: string): void { this.write('o', `       ${text}\n`); }
  warn(text: string): void { this.write('e', ` !     ${text}\n`); }
}
