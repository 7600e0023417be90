/** What dockerode gives for an HTTP status that is not a success. */
export function statusOf(error: unknown): number | null {
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  return typeof status === 'number' ? status : null;
}

/** The engine's own words, without dockerode's frame. */
export function reasonOf(error: unknown): string {
  const json = (error as { json?: { message?: unknown } | null } | null)?.json;
  if (typeof json?.message === 'string') return json.message.trim();
  return error instanceof Error ? error.message.replace(/^\(HTTP code \d+\) [^-]*- /, '').trim() : String(error);
}
