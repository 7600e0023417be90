import { StepFailure } from '../../../events/step.js';
import type { Project } from '../builder.port.js';
import { parseReference, shown, SOURCES, textOf, type BuildpackRef, type Source } from './reference.js';

/** Name of the app's setting that holds its list: one buildpack a line. */
export const SETTING = 'buildpacks';
/** Name of the app's setting that says what STACK is inside third-party buildpacks. */
export const STACK_SETTING = 'buildpacks-stack';
/** more are a mistake, or meant to keep a worker busy */
export const MOST = 20;

export interface Named {
  readonly from: Source;
  readonly buildpacks: readonly BuildpackRef[];
}

export interface Asked { readonly builder: string; readonly answer: string }

/** `BUILDPACK_URL=…` or `export BUILDPACK_URL=…` in a `.env`; the last one counts, an empty one is none. */
export function buildpackFromEnv(text: string): string | null {
  let found: string | null = null;
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*(?:export\s+)?BUILDPACK_URL\s*=\s*(?:"([^"]*)"|'([^']*)'|(\S*))\s*(?:#.*)?$/.exec(line);
    if (match) found = match[1] ?? match[2] ?? match[3] ?? '';
  }
  return found === '' ? null : found;
}

/** The lines of a `.buildpacks` file or of the setting; empty ones and those that begin with # are none. */
export const listed = (text: string): string[] => text.split(/\s*\n\s*/).map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));

/** Who names buildpacks, in the order in which they are asked; the first that does decides. */
function texts({ tree, settings, appJson }: Project): readonly { readonly from: Source; readonly texts: readonly string[] }[] {
  const one = (text: string | null | undefined): string[] => (text ? [text] : []);
  return [
    { from: SOURCES.envFile, texts: one(buildpackFromEnv(tree.text('.env') ?? '')) },
    { from: SOURCES.config, texts: one(settings['BUILDPACK_URL']?.trim()) },
    { from: SOURCES.settings, texts: listed(settings[SETTING] ?? '') },
    { from: SOURCES.file, texts: listed(tree.text('.buildpacks') ?? '') },
    { from: SOURCES.appJson, texts: appJson.buildpacks.map((text) => text.trim()) },
  ];
}

/**
 * The buildpacks that an app names, who else was asked, and what is named in vain.
 * @throws StepFailure `detect.buildpack-url` one of them can't be read, `detect.buildpacks` too many
 */
export function namedBuildpacks(project: Project): { readonly named: Named | null; readonly asked: readonly Asked[]; readonly warnings: readonly string[] } {
  const asked: Asked[] = [];
  const warnings: string[] = [];
  let named: Named | null = null;
  for (const { from, texts: given } of texts(project)) {
    if (named !== null) {
      // a buildpack that reads .buildpacks itself is told by its name
      const reads = from === SOURCES.file && named.buildpacks.some((reference) => reference.kind !== 'own' && /multi(?:\.git)?(?:#.*)?$/.test(textOf(reference)));
      if (given.length > 0 && !reads) warnings.push(`the buildpacks of ${from} are not used: ${named.from} decides`);
      continue;
    }
    if (given.length > MOST) throw new StepFailure('detect.buildpacks', `${from} names ${given.length} buildpacks, at most ${MOST} can be used`, 'take some of them out');
    if (given.length > 0) named = { from, buildpacks: given.map((text) => parseReference(text, from)) };
    asked.push({ builder: from, answer: named === null ? 'none' : named.buildpacks.map((reference) => shown(textOf(reference))).join(', ') });
  }
  return { named, asked, warnings };
}
