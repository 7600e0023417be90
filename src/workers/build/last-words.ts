import { StepFailure } from '../../events/step.js';

interface Words { text: string; hint: string | null; next: boolean }

/**
 * Commands of generated Dockerfiles say why they end a build, in a line that begins with ` !     ` (and a hint in the next one): that
 * tells more than the name of the step. Steps run side by side: what counts is the one that failed.
 */
export class LastWords {
  /** number of a step, '' where the builder has none → what it said last */
  private readonly said = new Map<string, Words>();
  private failed: string | null = null;

  hear(line: string): void {
    const [, step = '', text = ''] = /^(?:#(\d+) (?:\d+\.\d+ )?)?(.*)$/.exec(line) ?? [];
    if (this.failed === null && /^ERROR: (?!.*context canceled)/.test(text)) this.failed = step;
    const before = this.said.get(step);
    const words = /^ !     (\S.*)$/.exec(text)?.[1];
    if (words !== undefined) this.said.set(step, { text: words, hint: null, next: true });
    else if (before?.next) this.said.set(step, { ...before, hint: /^ {7}(\S.*)$/.exec(text)?.[1] ?? null, next: false });
  }

  /** The failure in those words. */
  explain(error: unknown): unknown {
    const words = this.said.get(this.failed ?? '');
    if (words === undefined || !(error instanceof StepFailure) || error.code !== 'build.failed' || error.fault !== 'user') return error;
    return new StepFailure(error.code, words.text, words.hint ?? 'its output is above', error.fault, { cause: error });
  }
}
