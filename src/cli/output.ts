/** Text for stderr in the marks that every command uses: ` !     what`, seven spaces and what to do. */
export function refusal(message: string, hint?: string | null): string {
  return ` !     ${message}\n${hint ? `       ${hint}\n` : ''}`;
}

/** What to say when the API's socket cannot be opened. */
export function unreachable(socketPath: string, code: string): string {
  if (code === 'EACCES' || code === 'EPERM') return refusal(`You may not talk to Berth (${socketPath}: permission denied)`, 'try: sudo berth …');
  if (code === 'ENOENT' || code === 'ECONNREFUSED') {
    return refusal(`Berth's API is not running (${socketPath})`, 'start it: systemctl start berth-api, or run deploy/bootstrap.sh again, which repairs');
  }
  return refusal(`Berth's API does not answer (${socketPath}: ${code})`);
}

/** Message and hint of a reply that is not 200; whatever it holds. */
export function readRefusal(status: number, body: string): string {
  if (status === 415) return refusal("Berth's API is of another version than this program", 'start it again: systemctl restart berth-api, or run deploy/bootstrap.sh again');
  try {
    const { message, hint } = JSON.parse(body) as { message?: unknown; hint?: unknown };
    if (typeof message === 'string') return refusal(message, typeof hint === 'string' ? hint : null);
  } catch {
    // not JSON: said below
  }
  return refusal(`Berth's API answered ${status}`);
}

/** how long a reader may take nothing of an output that was cut off anyway, ms */
const PATIENCE_MS = 5000;

/** Ends the process when both outputs have taken everything, however slow their readers are. @param cut more of it will never come: a reader that does not read is not waited for */
export function leave(code: number, cut = false): void {
  process.stdout.write('', () => { process.stderr.write('', () => { process.exit(code); }); });
  if (!cut) return;
  let before = NaN;
  setInterval(() => {
    const now = process.stdout.writableLength + process.stderr.writableLength;
    if (now === before) process.exit(code);
    before = now;
  }, PATIENCE_MS / 2);
}
