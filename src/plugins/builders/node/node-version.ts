import { Range, intersects, validRange } from 'semver';
import { StepFailure } from '../../../events/step.js';
import type { SourceTree } from '../source-tree.js';
import { linesOf, toolVersions } from '../generated.js';
import type { Manifest } from './manifest.js';

/** The long-term line that is taken when nobody asks for another, or when many lines fit. */
export const DEFAULT_NODE = '24.x';
const LTS: Readonly<Record<string, number>> = { argon: 4, boron: 6, carbon: 8, dubnium: 10, erbium: 12, fermium: 14, gallium: 16, hydrogen: 18, iron: 20, jod: 22, krypton: 24 };

export interface WantedNode {
  /** as it is written: `lts/iron`, `>=20` */
  readonly text: string;
  /** where: `.nvmrc` */
  readonly from: string;
  /** comparators only: `>=20.0.0 <21.0.0-0` */
  readonly range: string;
}

/** A range as comparators: digits, dots, dashes, letters, `<>=|` and spaces only, so that it can stand in a command. Null when it is none. */
export function comparators(text: string): string | null {
  const range = validRange(text);
  return range === null ? null : new Range(text).format() || '*';
}

/** What nvm, asdf and people write → a semver range. */
function rangeOf(text: string): string {
  const word = text.trim().toLowerCase().replace(/^node(?:js)?[@-]?(?=v?\d)/, '');
  if (word === 'lts' || word === 'lts/*' || word === 'lts-*' || word === '--lts') return DEFAULT_NODE;
  if (word === 'node' || word === 'latest' || word === 'current' || word === 'stable') return '*';
  const line = /^lts[/-](\w+)$/.exec(word)?.[1];
  return line === undefined ? word : LTS[line] === undefined ? text : `${LTS[line]}.x`;
}

const first = (tree: SourceTree, path: string): string | undefined => linesOf(tree, path)[0];

/**
 * What the repository says about its Node.js. A version file decides within what `engines.node` allows: that is a promise about what
 * works, the file a choice. Where they contradict each other `engines` wins, as with Heroku, and a warning says so.
 * @throws StepFailure `detect.version` for what is no version
 */
export function wantedNode(tree: SourceTree, manifest: Manifest): { readonly wanted: WantedNode | null; readonly warnings: string[] } {
  const read = (text: string | undefined, from: string): WantedNode | null => {
    if (text === undefined || text === '' || text === 'system') return null;
    const range = comparators(rangeOf(text));
    if (range === null || /[^0-9A-Za-z.<>=|\- *]/.test(range)) throw new StepFailure('detect.version', `${from} asks for Node.js ${JSON.stringify(text).slice(0, 80)}, which is no version`, 'a version or a range: 22, 22.11.0, >=20 <23, lts/jod');
    return { text, from, range };
  };
  const tool = toolVersions(tree, ['node', 'nodejs'])?.text;
  const file = read(first(tree, '.node-version'), '.node-version') ?? read(first(tree, '.nvmrc'), '.nvmrc') ?? read(tool, '.tool-versions') ?? read(manifest.volta['node'], 'package.json (volta)');
  const engines = read(manifest.engines['node'], 'package.json (engines)');
  if (file === null || engines === null) return { wanted: file ?? engines, warnings: [] };
  if (intersects(file.range, engines.range)) return { wanted: file, warnings: [] };
  return { wanted: engines, warnings: [`${file.from} asks for Node.js ${file.text}, package.json (engines) for ${engines.text}: engines decides`] };
}

/** `>=18.0.0` → the default line is preferred, as it fits; null where it does not. */
export const preferred = (range: string): string | null => (intersects(range, DEFAULT_NODE) ? comparators(DEFAULT_NODE) : null);
