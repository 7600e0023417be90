import type { Out } from './command.js';

/** Collects lines for one caller; `write` gets text for standard output or standard error. */
export class FrameOut implements Out {
  constructor(private readonly write: (channel: 'o' | 'e', text: string) => void, readonly columns: number, readonly color: boolean, readonly quiet: boolean, readonly verbose: boolean) {}
  line(text = ''): void { this.write('o', `${text}\n`); }
  raw(text: string): void { this.write('o', text); }
  info(text: string): void { if (!this.quiet) this.write('o', `-----> ${text}\n`); }
  section(text: string): void { if (!this.quiet) this.write('o', `=====> ${text}\n`); }
  detail(text: string): void { this.write('o', `       ${text}\n`); }
  warn(text: string): void { this.write('e', ` !     ${text}\n`); }
}
