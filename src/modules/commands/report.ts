/** Nest's token for the process's own log of what went wrong on our side. */
export const REPORT = Symbol('report');
export type Report = (message: string, error: unknown) => void;

/** Writes one line to standard error; the supervisor keeps it. The same complaint is written once a minute at most. */
export function reporter(name: string): Report {
  const last = new Map<string, number>();
  return (message, error) => {
    const text = `${message}: ${error instanceof Error ? error.message : String(error)}`;
    const now = Date.now();
    if (now - (last.get(text) ?? 0) < 60_000) return;
    if (last.size > 500) last.clear();
    last.set(text, now);
    const stack = error instanceof Error && !(error as NodeJS.ErrnoException).code ? `\n${error.stack ?? ''}` : '';
    process.stderr.write(`${new Date(now).toISOString()} ${name} ${text}${stack}\n`);
  };
}
