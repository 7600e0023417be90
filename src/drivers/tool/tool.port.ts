/** Programs of the host that build images: looked up in PATH, started with an array of arguments, never by a shell. */
export interface ToolPort {
  /** absolute path of a program, or null when it is not installed */
  find(program: string): Promise<string | null>;
  /**
   * Runs it to its end, output line by line (cut at 8,192 characters). Answers the exit code, or the signal's name. An abort ends the whole
   * process group (TERM, KILL after five seconds) and throws the signal's reason.
   * @param env added to a minimal environment (PATH, HOME, LANG); nothing of our own goes along
   */
  run(program: string, args: readonly string[], options: {
    readonly cwd: string; readonly env: Readonly<Record<string, string>>; readonly signal: AbortSignal; onLine(line: string): void;
  }): Promise<number | string>;
}
