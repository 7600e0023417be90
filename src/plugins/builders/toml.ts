import { parse, TomlError, type TomlTable } from 'smol-toml';
import { StepFailure } from '../../events/step.js';
import type { SourceTree } from './source-tree.js';

const table = (value: unknown): value is TomlTable => typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);

/** A document, or a table in it. What is not there, or is of another type, is null or empty. */
export class Toml {
  constructor(private readonly root: TomlTable) {}

  private value(path: readonly string[]): unknown {
    return path.reduce<unknown>((at, key) => (table(at) && Object.hasOwn(at, key) ? at[key] : undefined), this.root);
  }
  has(...path: string[]): boolean { return this.value(path) !== undefined; }
  get(...path: string[]): Toml | null { const value = this.value(path); return table(value) ? new Toml(value) : null; }
  string(...path: string[]): string | null { const value = this.value(path); return typeof value === 'string' ? value : null; }
  is(wanted: boolean, ...path: string[]): boolean { return this.value(path) === wanted; }
  /** strings of a list */
  list(...path: string[]): readonly string[] { const value = this.value(path); return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []; }
  /** `[[name]]` tables, and tables in a list */
  tables(...path: string[]): readonly Toml[] { const value = this.value(path); return Array.isArray(value) ? value.filter(table).map((item) => new Toml(item)) : []; }
  keys(...path: string[]): readonly string[] { const value = this.value(path); return table(value) ? Object.keys(value) : []; }
}

/**
 * A file of the tree; an empty document when it is not there.
 * @throws StepFailure `detect.toml` that names the file and the line
 */
export function readToml(tree: SourceTree, path: string): Toml {
  try { return new Toml(parse(tree.text(path) ?? '')); }
  catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw new StepFailure('detect.toml', `${path} line ${error.line}: ${error.message.split('\n')[0]!.replace(/^Invalid TOML document: /, '')}`, `${path} must be TOML: https://toml.io`);
  }
}
