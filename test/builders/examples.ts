import { readFileSync, readdirSync, readlinkSync, lstatSync } from 'node:fs';
import { join, relative } from 'node:path';
import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import tar from 'tar-stream';

/**
 * An example app: a folder `test/builders/apps/<language>-<variant>` with the app's files and an `expect.json`. Every one is detected
 * and planned in the pure layer; those with `run: "always"` are built and served in the test command, those with `all` by
 * `npm run test:builders`. `plan` says that it can't be built on the test machines; `why` says what they lack.
 */
export interface Expect {
  /** one line: what this example is there to show */
  readonly about: string;
  readonly run: 'always' | 'all' | 'plan';
  readonly why?: string;
  /** app's settings (`builder:set`) */
  readonly settings?: Readonly<Record<string, string>>;
  /** app's config: what build args may name, and what the containers get */
  readonly config?: Readonly<Record<string, string>>;
  /** name of the builder that takes it: `node` */
  readonly detects?: string;
  /** part of the plan, as `toMatchObject` */
  readonly plan?: Readonly<Record<string, unknown>>;
  /** lines of detail that must be told */
  readonly details?: readonly string[];
  readonly warnings?: readonly string[];
  /** texts that the generated Dockerfile has */
  readonly dockerfile?: readonly string[];
  /** it is refused when it is looked at, or when it is built; `says` is in the message, the hint or the build's output */
  readonly fails?: { readonly at: 'plan' | 'build'; readonly code: string; readonly says?: string };
  /** what web answers */
  readonly http?: readonly { readonly path: string; readonly status?: number; readonly contains?: string; readonly lacks?: string; readonly headers?: Readonly<Record<string, string>> }[];
  /** what is not in the image: absolute paths */
  readonly absent?: readonly string[];
}

export interface Example { readonly name: string; readonly folder: string; readonly expect: Expect }

const APPS = join(import.meta.dirname, 'apps');

export function examples(): Example[] {
  return readdirSync(APPS).toSorted().map((name) => ({ name, folder: join(APPS, name), expect: JSON.parse(readFileSync(join(APPS, name, 'expect.json'), 'utf8')) as Expect }));
}

/** The example's files as `git archive` would write them, into a tar file. */
export async function archive({ folder }: Example, file: string): Promise<void> {
  const pack = tar.pack();
  const written = pipeline(pack, createWriteStream(file));
  const visit = (at: string): void => {
    for (const name of readdirSync(at).toSorted()) {
      const path = join(at, name);
      const stat = lstatSync(path);
      const header = { name: relative(folder, path), mode: stat.mode & 0o100 ? 0o755 : 0o644, mtime: new Date(0) };
      if (header.name === 'expect.json') continue;
      if (stat.isDirectory()) visit(path);
      else if (stat.isSymbolicLink()) pack.entry({ ...header, type: 'symlink', linkname: readlinkSync(path) });
      else pack.entry(header, readFileSync(path));
    }
  };
  visit(folder);
  pack.finalize();
  await written;
}
