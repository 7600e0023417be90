import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Commands that look at files only: carried out here, so that they work where no Berth runs. */
const OFFLINE = new Set(['audit:verify', 'backup:verify', 'builder:plan', 'plugin:test']);

/** The command's name in these words; the words before it are global flags. */
export function nameOf(argv: readonly string[]): string | undefined {
  return argv.find((word, i) => !word.startsWith('-') && argv[i - 1] !== '--app');
}

/** Carries the command out by itself; answers its exit code, or null when the server has to. */
export async function withoutServer(argv: readonly string[]): Promise<number | null> {
  if (!OFFLINE.has(nameOf(argv) ?? '')) return null;
  // beside this program, and only now: it is much larger than what every other command needs
  const file = pathToFileURL(join(dirname(process.argv[1]!), 'offline.mjs')).href;
  const { offline } = (await import(file)) as { offline(words: readonly string[]): Promise<number | null> };
  return offline(argv);
}
