import type { NumberedLine } from '../../drivers/logs/log-store.js';
import type { Out } from '../commands/command.js';
import { seconds } from '../commands/words.js';
import type { EndOfDeploy, FollowItem } from './follow.js';

/** lines of a failed step's output that are shown when they were not shown as they came */
const TAIL = 30;

/** Of BuildKit's lines those that the failed step printed, without their marks; another builder's as they are. */
export function ofFailedStep(lines: readonly string[]): string[] {
  const id = lines.map((line) => /^#(\d+) ERROR/.exec(line)?.[1]).findLast((found) => found !== undefined);
  if (id === undefined) return [...lines];
  return lines.filter((line) => line.startsWith(`#${id} `)).flatMap((line) => {
    const text = line.slice(id.length + 2);
    return /^(?:ERROR|CACHED|DONE|\[)/.test(text) ? [] : [text.replace(/^\d+\.\d+ /, '')];
  });
}

/**
 * Turns a followed deploy into lines. Without trace mode a build's own output stays quiet, save the heading of each of its steps,
 * until the build fails: then its last lines are shown.
 */
export class DeployPrinter {
  private held: NumberedLine[] = [];
  private step = '';
  private readonly shown = new Set<string>();

  constructor(private readonly out: Out, private readonly verbose: boolean) {}

  /** Prints one item; answers the exit code with the last one. */
  print(item: FollowItem): number | undefined {
    if (item.event === 'line') this.line(item.data);
    else if (item.event === 'end') return this.end(item.data);
    else if (item.event === 'note') this.out.warn(item.data.text);
    else if (item.data.status === 'waiting') this.out.info(item.data.behind === null ? 'Waiting' : `Waiting: deploy ${item.data.behind} is running, this one comes next`);
    return undefined;
  }

  private line(line: NumberedLine): void {
    if (line.s !== this.step) this.held = []; // what an earlier step printed explains nothing any more
    this.step = line.s;
    if (this.verbose || !line.v) {
      if (line.k === 'e') this.showHeld();
      this.shown.add(line.m.trim());
      this.out.line(line.k === 'c' ? `       · ${line.m}` : line.m);
      return;
    }
    if (line.k === 'c') return;
    const heading = /^\s*#\d+ (\[.*)$/.exec(line.m);
    if (heading && !/\[internal\]|^\[[^\]]*\] (?:FROM|WORKDIR) /.test(heading[1]!)) this.out.detail(heading[1]!.length > 110 ? `${heading[1]!.slice(0, 110)}…` : heading[1]!);
    this.held.push(line);
    if (this.held.length > TAIL) this.held.shift();
  }

  /** The build's last lines, before the word of its failure. */
  private showHeld(): void {
    if (this.verbose || this.held.length === 0 || this.step !== 'build') return;
    const lines = ofFailedStep(this.held.splice(0).map(({ m }) => m.trimStart()));
    if (lines.length > 0) this.out.warn('The last lines of the build:');
    for (const line of lines) this.out.detail(line);
  }

  private warn(text: string): void {
    if (!this.shown.has(`!     ${text}`)) this.out.warn(text);
  }

  private end(end: EndOfDeploy): number {
    const { out } = this;
    switch (end.status) {
      case 'succeeded':
        out.section(`Application deployed: ${end.name} v${end.release ?? '?'} in ${seconds(end.tookMs)}`);
        for (const url of end.urls) out.detail(url);
        return 0;
      case 'superseded':
        out.warn(`Deploy ${end.deploy} of ${end.name} was superseded by deploy ${end.endedBy}`);
        return 1;
      case 'cancelled':
        out.warn(`Deploy ${end.deploy} of ${end.name} was cancelled by ${end.endedBy}`);
        return 1;
      default:
        if (end.failure?.code.startsWith('build.')) this.showHeld();
        if (end.failure) this.warn(end.failure.message);
        if (end.failure?.hint) this.warn(end.failure.hint);
        out.warn(`Deploy ${end.deploy} of ${end.name} failed${end.failure ? ` (${end.failure.code})` : ''}${end.live ? `; v${end.live} goes on serving` : ''}`);
        out.warn(`trace: berth trace ${end.name} ${end.deploy}${end.failure?.job ? `   retry: berth jobs:retry ${end.failure.job}` : ''}`);
        return 1;
    }
  }
}
