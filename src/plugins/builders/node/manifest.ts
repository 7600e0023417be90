import { StepFailure } from '../../../events/step.js';
import type { SourceTree } from '../source-tree.js';

type Words = Readonly<Record<string, string>>;

/** What a package.json says that we look at; everything odd in it is left out. */
export interface Manifest {
  readonly scripts: Words;
  readonly engines: Words;
  readonly volta: Words;
  readonly dependencies: Words;
  readonly devDependencies: Words;
  readonly optionalDependencies: Words;
  readonly packageManager: string | null;
  readonly workspaces: boolean;
  readonly cacheDirectories: readonly string[];
  readonly raw: Readonly<Record<string, unknown>>;
}

const record = (value: unknown): Record<string, unknown> => (typeof value === 'object' && value !== null && !Array.isArray(value) ? value as Record<string, unknown> : {});
const words = (value: unknown): Words => Object.fromEntries(Object.entries(record(value)).filter((pair): pair is [string, string] => typeof pair[1] === 'string'));

/** @throws StepFailure `detect.package-json` when it is there and can't be read */
export function readManifest(tree: SourceTree, path = 'package.json'): Manifest {
  const text = tree.text(path);
  let raw: unknown;
  if (text === null) throw new StepFailure('detect.package-json', `${path} can't be read: it is no plain text file of at most 512 kB`, null);
  try { raw = JSON.parse(text.replace(/^\uFEFF/, '')); } catch (error) { throw new StepFailure('detect.package-json', `${path}: ${(error as Error).message}`, 'it must be JSON: no comments, no commas at the end'); }
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) throw new StepFailure('detect.package-json', `${path} is no JSON object`, null);
  const all = raw as Record<string, unknown>;
  const caches = all['cacheDirectories'] ?? all['cache_directories'];
  return {
    scripts: words(all['scripts']), engines: words(all['engines']), volta: words(all['volta']),
    dependencies: words(all['dependencies']), devDependencies: words(all['devDependencies']), optionalDependencies: words(all['optionalDependencies']),
    packageManager: typeof all['packageManager'] === 'string' ? all['packageManager'] : null,
    workspaces: Array.isArray(all['workspaces']) || Array.isArray(record(all['workspaces'])['packages']) || tree.has('pnpm-workspace.yaml') && /^packages:/m.test(tree.text('pnpm-workspace.yaml') ?? ''),
    cacheDirectories: Array.isArray(caches) ? caches.filter((item): item is string => typeof item === 'string') : [],
    raw: all,
  };
}
