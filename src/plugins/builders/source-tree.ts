import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar-stream';
import { StepFailure } from '../../events/step.js';

/** What builders see of a repository: which files there are, and the text of the small ones that tell what it is. */
export interface SourceTree {
  /** files and symlinks, `a/b.txt`, sorted; no directories */
  readonly paths: readonly string[];
  has(path: string): boolean;
  /** Text of a file that was kept, or null: not there, a link, or too big. */
  text(path: string): string | null;
  /** bytes of all files */
  readonly bytes: number;
}

/** A tree out of texts: tests, and sources that are no archive. */
export function treeOf(files: Readonly<Record<string, string>>): SourceTree {
  const texts = new Map(Object.entries(files));
  return make([...texts.keys()], texts, [...texts.values()].reduce((sum, text) => sum + Buffer.byteLength(text), 0));
}

function make(paths: string[], texts: ReadonlyMap<string, string>, bytes: number): SourceTree {
  const set = new Set(paths);
  return { paths: paths.toSorted(), bytes, has: (path) => set.has(path), text: (path) => texts.get(path) ?? null };
}

/** What lies in one folder of a tree, as a tree of its own. */
export function within(tree: SourceTree, folder: string): SourceTree {
  const start = `${folder.replace(/\/+$/, '')}/`;
  return { paths: tree.paths.filter((path) => path.startsWith(start)).map((path) => path.slice(start.length)), bytes: tree.bytes, has: (path) => tree.has(start + path), text: (path) => tree.text(start + path) };
}

export interface ReadLimits {
  /** bytes of one text */
  readonly file: number;
  /** the same for a lock file at the root: they tell versions, and are long */
  readonly lock: number;
  /** bytes of all texts together */
  readonly texts: number;
  /** entries of the archive */
  readonly entries: number;
}
const LIMITS: ReadLimits = { file: 512 * 1024, lock: 8 * 1024 * 1024, texts: 32 * 1024 * 1024, entries: 500_000 };

const NAMES = new Set(['package.json', 'app.json', 'Procfile', 'Dockerfile', 'manage.py', 'wsgi.py', 'asgi.py', 'settings.py', 'go.mod', 'Cargo.toml', 'pom.xml', 'pyproject.toml', 'composer.json', 'Gemfile', 'mix.exs', 'build.gradle', 'build.gradle.kts', 'project.clj', 'main.go', 'index.html', 'index.php']);
const LOCKS = new Set(['package-lock.json', 'npm-shrinkwrap.json', 'pnpm-lock.yaml', 'yarn.lock', 'composer.lock', 'Gemfile.lock']);

/** Everything at the root, requirement files, and the few names that tell something further down. */
function telling(path: string): boolean {
  const parts = path.split('/');
  const name = parts.at(-1)!;
  if (parts.length === 1) return true;
  if (parts.length > 6) return false;
  return NAMES.has(name) || parts.at(-2) === 'settings' && name.endsWith('.py') || parts.length <= 3 && /\.(txt|in|lock|toml|csproj|fsproj|vbproj|sln|exs)$/.test(name) || parts.length === 2 && parts[0] === 'config' && /\.(rb|ya?ml)$/.test(name);
}

/** `./a/b/` → `a/b`; null for what would leave the tree. */
function clean(name: string): string | null {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  return parts.includes('..') || parts.length === 0 ? null : parts.join('/');
}

/**
 * Reads a tar archive in one pass; memory is bounded by the texts that are kept.
 * @param also paths to keep whatever they are called (a Dockerfile named in the settings), or what says so of each
 * @throws StepFailure `detect.too-many-files`; anything else means that the archive is damaged
 */
export async function readSourceTree(archive: string, also: readonly string[] | ((path: string) => boolean) = [], signal?: AbortSignal, limits: ReadLimits = LIMITS): Promise<SourceTree> {
  const named = typeof also === 'function' ? null : new Set(also);
  const wanted = (path: string): boolean => named?.has(path) ?? (also as (path: string) => boolean)(path);
  const paths: string[] = [];
  const texts = new Map<string, string>();
  let bytes = 0;
  let kept = 0;
  const parser = extract();
  parser.on('entry', (header, stream, next) => {
    const path = clean(header.name);
    const file = header.type === 'file' || header.type === 'contiguous-file';
    if (path !== null && (file || header.type === 'symlink' || header.type === 'link')) {
      paths.push(path);
      bytes += header.size ?? 0;
    }
    if (paths.length > limits.entries) { parser.destroy(new StepFailure('detect.too-many-files', `the repository has more than ${limits.entries} files`, 'keep generated files and dependencies out of the repository')); return; }
    const size = header.size ?? 0;
    stream.on('end', next);
    if (path === null || !file || size > (LOCKS.has(path) ? limits.lock : limits.file) || kept + size > limits.texts || !(telling(path) || wanted(path))) { stream.resume(); return; }
    kept += size;
    const chunks: Buffer[] = [];
    stream.on('data', (chunk) => chunks.push(chunk as Buffer));
    stream.on('end', () => { const all = Buffer.concat(chunks); if (!all.includes(0)) texts.set(path, all.toString('utf8')); });
  });
  await pipeline(createReadStream(archive, { highWaterMark: 1 << 20 }), parser, signal === undefined ? {} : { signal });
  return make(paths, texts, bytes);
}
