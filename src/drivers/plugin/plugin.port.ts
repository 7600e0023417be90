/** A plugin's program did not do what it should: a fault of the plugin, never of Berth. */
export class PluginFault extends Error {
  constructor(readonly code: 'start' | 'timeout' | 'flood' | 'signal' | 'exit' | 'answer' | 'disk', message: string) {
    super(message);
    this.name = 'PluginFault';
  }
}

export interface PluginRun {
  /** the program and its arguments; the first word a file below `code` (with a slash) or a program of the server */
  readonly argv: readonly string[];
  /** the plugin's files: where it runs, and cannot write */
  readonly code: string;
  /** its own folder, made when it is not there */
  readonly data: string;
  /** its own user; null: whoever we are (only where a plugin is tried out) */
  readonly uid: number | null;
  readonly env: Readonly<Record<string, string>>;
  readonly input: string;
  readonly timeoutMs: number;
  /** everything else on the machine comes first */
  readonly low?: boolean;
  readonly signal: AbortSignal;
  /** what it says on standard error, line by line */
  onLine(line: string): void;
}

export interface PluginPrograms {
  /**
   * Runs it to its end and everything that it started with it.
   * @throws PluginFault when it does not start, takes too long, floods or is killed; the signal's reason when that is aborted
   */
  run(run: PluginRun): Promise<{ readonly code: number; readonly stdout: string }>;
}
