/** The legacy builder's text in the form of BuildKit's lines: `Step 3/7 : RUN make` → `#3 [3/7] RUN make`. */
export class LegacyProgress {
  private rest = '';
  private step = 0;
  private began = performance.now();
  private name: string | null = null;
  steps = 0;
  cached = 0;
  failed: { readonly name: string; readonly error: string } | null = null;

  constructor(private readonly onLine: (line: string) => void) {}

  get running(): string | null {
    return this.name;
  }

  feed(text: string): void {
    const lines = (this.rest + text).split('\n');
    this.rest = lines.pop() ?? '';
    for (const line of lines) this.line(line.replace(/\r$/, ''));
  }

  fail(error: string): void {
    this.end();
    this.failed = { name: this.name ?? '', error };
    this.onLine(`#${this.step} ERROR: ${error.replace(/\s*\n\s*/g, ' ')}`);
  }

  end(): void {
    if (this.rest) this.line(this.rest);
    this.rest = '';
  }

  private line(line: string): void {
    const step = /^Step (\d+)\/(\d+) : (.*)$/.exec(line);
    if (step) {
      this.step = Number(step[1]);
      if (!/^FROM /i.test(step[3] ?? '')) this.steps += 1;
      this.began = performance.now();
      this.name = `[${step[1]}/${step[2]}] ${step[3]}`;
      this.onLine(`#${this.step} ${this.name}`);
    } else if (line === ' ---> Using cache') {
      this.cached += 1;
      this.onLine(`#${this.step} CACHED`);
    } else if (!/^ ---> |^Removing intermediate container |^Successfully (built|tagged) |^\s*$/.test(line)) {
      this.onLine(`#${this.step} ${((performance.now() - this.began) / 1000).toFixed(3)} ${line}`);
    }
  }
}
