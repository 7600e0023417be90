/** what of a buildpack's output is kept, in characters */
const KEPT = 8 * 1024 * 1024;
const LONGEST = 8192;
/** lines from the end that are kept in any case */
const LAST = 50;

/** Values of the config that a buildpack prints are not kept. Short ones are words of any text and stay. */
export function masker(values: readonly string[]): (line: string) => string {
  const secrets = values.flatMap((value) => value.split('\n')).map((value) => value.trim()).filter((value) => value.length >= 8).toSorted((a, b) => b.length - a.length);
  return (line) => secrets.reduce((text, secret) => text.replaceAll(secret, '***'), line);
}

/** Lines on their way into a deploy's log: secrets hidden, long lines cut, and of endless output the beginning and the end. */
export class BoundedOutput {
  /** the last line that says anything */
  last = '';
  private kept = 0;
  private left = { lines: 0, characters: 0 };
  private readonly end: string[] = [];

  constructor(private readonly write: (line: string) => void, private readonly mask: (line: string) => string, private readonly most = KEPT) {}

  push(text: string): void {
    const whole = this.mask(text);
    const line = (whole.length > LONGEST ? `${whole.slice(0, LONGEST)}…` : whole).replace(/\r$/, '');
    if (line.trim() !== '') this.last = line.trim();
    if (this.kept < this.most) {
      this.kept += line.length + 1;
      this.write(line);
      return;
    }
    this.end.push(line);
    if (this.end.length > LAST) {
      const lost = this.end.shift()!;
      this.left = { lines: this.left.lines + 1, characters: this.left.characters + lost.length + 1 };
    }
  }

  /** Writes what was held back. */
  close(): void {
    if (this.left.lines > 0) this.write(`… ${this.left.lines} lines (${Math.ceil(this.left.characters / 1e6)} MB) are left out here: only ${Math.round(this.most / 1024 / 1024)} MiB of a build's output are kept`);
    for (const line of this.end.splice(0)) this.write(line);
  }
}
