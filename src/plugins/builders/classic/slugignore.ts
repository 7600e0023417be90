import ignore from 'ignore';
import { StepFailure } from '../../../events/step.js';
import type { SourceTree } from '../source-tree.js';

export const SLUGIGNORE = '.slugignore';

/**
 * What `.slugignore` takes out of the source before any buildpack sees it: patterns as in `.gitignore`, without `!`.
 * @returns null when it names nothing
 * @throws StepFailure `detect.slugignore` a pattern that would take too long to match
 */
export function slugignore(text: string | null | undefined): ((path: string) => boolean) | null {
  const lines = (text ?? '').split(/\r?\n/).map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#') && !line.startsWith('!'));
  if (lines.length === 0) return null;
  const fail = (why: string): never => { throw new StepFailure('detect.slugignore', `${SLUGIGNORE}: ${why}`, 'one pattern a line, as in .gitignore'); };
  if (lines.length > 1000) fail('more than 1000 patterns');
  // each star of a name multiplies the time that a match may take
  const slow = lines.find((line) => line.length > 500 || line.split('/').some((part) => part.split(/\*+/).length > 4));
  if (slow !== undefined) fail(`too many stars: ${JSON.stringify(slow).slice(0, 80)}`);
  const rules = ignore().add(lines);
  return (path) => ignore.isPathValid(path) && rules.ignores(path);
}

/** The tree without what its `.slugignore` names. */
export function withoutIgnored(tree: SourceTree): SourceTree {
  const ignored = slugignore(tree.text(SLUGIGNORE));
  if (ignored === null) return tree;
  const paths = tree.paths.filter((path) => !ignored(path));
  const there = new Set(paths);
  return { paths, bytes: tree.bytes, has: (path) => there.has(path), text: (path) => (there.has(path) ? tree.text(path) : null) };
}
