import { StepFailure } from '../../events/step.js';
import type { BuilderAnswer, BuilderPlan } from '../contract/builder.answer.js';
import { DEFAULT_CHECK } from './app-json.js';
import type { Planned, Project } from './builder.port.js';
import { namedBuildpacks } from './classic/named.js';
import { withoutIgnored } from './classic/slugignore.js';
import { dockerfileBuilder, exposedPorts } from './dockerfile.builder.js';
import { planOf } from './generated.js';

/** A builder that a plugin brings. */
export interface ForeignBuilder {
  /** `plugin:hello/cobol` */
  readonly name: string;
  readonly title: string;
  readonly looksFor: string;
  /** patterns of paths whose text it is given */
  readonly reads: readonly string[];
}
/** What one was asked, and said; `fault`: why it did not answer. */
export interface Told { readonly builder: ForeignBuilder; readonly answer: BuilderAnswer | null; readonly fault: string | null }

export const foreignName = (plugin: string, name: string): string => `plugin:${plugin}/${name}`;
export const isForeign = (name: string): boolean => name.startsWith('plugin:');

/** What plugins see of a project: as our buildpacks do. */
export const seenByPlugins = (project: Project): Project => ({ ...project, tree: withoutIgnored(project.tree) });

/** Those that are asked, in order, until one takes the project: the one that the app names, or all where nothing in front of them takes it. */
export function foreignAsked(project: Project, all: readonly ForeignBuilder[]): readonly ForeignBuilder[] {
  const wanted = project.settings['builder'] ?? '';
  if (isForeign(wanted)) return all.filter(({ name }) => name === wanted);
  if (all.length === 0 || (wanted !== '' && wanted !== 'buildpacks') || namedBuildpacks(project).named !== null) return [];
  return wanted !== 'buildpacks' && dockerfileBuilder.detect(project) !== null ? [] : all;
}

/** Asks them one after another. */
export async function consult(asked: readonly ForeignBuilder[], ask: (builder: ForeignBuilder) => Promise<Told>): Promise<Told[]> {
  const told: Told[] = [];
  for (const builder of asked) {
    const said = await ask(builder);
    told.push(said);
    if (said.answer?.detect) break;
  }
  return told;
}

/** In a word, for the list of who was asked. */
export const inWords = ({ answer, fault }: Told): string => (fault !== null ? `did not answer: ${fault}` : (answer?.detect?.reason ?? 'no'));

/** @throws StepFailure `detect.refused` when it says that this cannot be built */
export function plannedBy({ builder, answer }: Told, project: Project): Planned {
  if (answer?.refuse !== undefined) throw new StepFailure('detect.refused', `${builder.name} cannot build it: ${answer.refuse.trim().replaceAll(/\s+/g, ' ').slice(0, 500)}`, null);
  const { dockerfile, processTypes, releaseCommand, port, check, summary, details = [], warnings = [] } = answer!.plan as BuilderPlan;
  const types = project.procfile?.processes ?? processTypes ?? { web: null };
  const plan = planOf(project, { buildpack: builder.name, summary: summary ?? builder.title, processTypes: types, dockerfile: dockerfile.trimEnd().split('\n'), ...(releaseCommand !== undefined && { releaseCommand }) });
  const own = plan.check === DEFAULT_CHECK || JSON.stringify(plan.check) === JSON.stringify(DEFAULT_CHECK);
  return { plan: { ...plan, port: port ?? exposedPorts(dockerfile)[0] ?? plan.port, ...(own && check && { check: { ...plan.check, ...check } }) }, details, warnings };
}
