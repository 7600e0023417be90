import { parse } from 'yaml';

export interface ReleaseInfo {
  /** type → command */
  readonly processTypes: Readonly<Record<string, string>>;
  /** the entry `release` of the same list */
  readonly release: string | null;
  /** names of `config_vars`: Heroku set them at the first push; nobody does now */
  readonly configVars: readonly string[];
}

const TYPE = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const record = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * The YAML that `bin/release` prints. Names that can be no process type are left out, as are keys with no meaning here (`addons`).
 * @throws Error what is wrong with it, one line
 */
export function parseRelease(yaml: string): ReleaseInfo {
  let root: unknown;
  // all values are texts: `web: yes` is a command
  try { root = parse(yaml, { schema: 'failsafe', maxAliasCount: 100, logLevel: 'error' }); } catch (error) { throw new Error((error as Error).message.split('\n')[0], { cause: error }); }
  const part = (key: string): Record<string, unknown> => (record(root) && record(root[key]) ? root[key] : {});
  const types = Object.entries(part('default_process_types')).filter((pair): pair is [string, string] => TYPE.test(pair[0]) && typeof pair[1] === 'string' && pair[1].trim() !== '' && !pair[1].includes('\0'));
  const { release = null, ...processTypes } = Object.fromEntries(types.map(([type, text]) => [type, text.trim()]));
  return { processTypes, release, configVars: Object.keys(part('config_vars')) };
}
