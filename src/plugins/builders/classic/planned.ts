import type { ClassicPlan } from '../../../events/types/deploy.events.js';
import { StepFailure } from '../../../events/step.js';
import type { Builder, Planned, Project } from '../builder.port.js';
import { buildArgs } from '../dockerfile.builder.js';
import { planOwn, started } from '../earlier.js';
import { requireStack } from '../foreign-stack.js';
import { STACK_SETTING, type Named } from './named.js';
import { shown, SOURCES, textOf } from './reference.js';
import { withStart } from './start.js';

export interface PlannedNamed extends Planned { readonly title: string; readonly reason: string }

/**
 * The plan for buildpacks that an app names. Third-party ones decide for themselves in their container; one of ours is asked as
 * any other would be, and the last of them makes the image out of what all others leave.
 * @throws StepFailure as `planOwn`
 */
export function planNamed(project: Project, { from, buildpacks }: Named, builders: readonly Builder[]): PlannedNamed {
  const own = buildpacks.flatMap((reference) => (reference.kind === 'own' ? builders.filter((builder) => builder.name === reference.name) : []));
  const third = buildpacks.filter((reference) => reference.kind !== 'own').map(textOf);
  for (const builder of own) requireStack(builder, project);
  const reason = `named by ${from}`;
  const classic: ClassicPlan | null = third.length === 0 ? null : {
    buildpacks: third, ownAt: own.length === 0 ? null : buildpacks.slice(0, buildpacks.findLastIndex((reference) => reference.kind === 'own')).filter((reference) => reference.kind !== 'own').length,
    // Heroku asks every one of a list; a BUILDPACK_URL was always used without more ado where that was the way to name one
    strict: from !== SOURCES.config && from !== SOURCES.envFile, stack: project.settings[STACK_SETTING] || null,
    procfile: project.settings['procfile-path'] ? 'setting' : project.procfile === null ? 'none' : 'source',
  };
  const names = buildpacks.map((reference) => shown(textOf(reference)));
  const list = names.length === 1 ? `buildpack ${names[0]}` : `buildpacks ${names.join(', ')}`;
  const builder = own.at(-1);
  if (builder === undefined) {
    return {
      title: names.length === 1 ? 'Buildpack' : 'Buildpacks', reason,
      plan: {
        builder: 'classic-buildpack', buildpack: third.join(' '), summary: `${list} (${from})`, classic: classic!,
        dockerfilePath: null, dockerfile: null, buildArgs: buildArgs(project),
        processTypes: project.procfile?.processes ?? {}, releaseCommand: project.procfile?.release ?? null, check: project.appJson.check, port: 5000,
      },
      details: [list, project.procfile === null ? 'no Procfile: process types come from the buildpack' : `Procfile: ${Object.keys(project.procfile.processes).join(', ')}`],
      warnings: [],
    };
  }
  const planned = classic === null ? planOwn(project, own, from) : planBehind(project, own, from);
  return {
    title: builder.title, reason: `${reason}; ${planned.reasons.join('; ')}`, warnings: planned.warnings,
    plan: classic === null ? planned.plan : { ...planned.plan, classic, summary: `${planned.plan.summary}; ${third.map(shown).join(', ')}`, dockerfile: planned.plan.dockerfile === null ? null : withStart(planned.plan.dockerfile) },
    details: [...(names.length === 1 ? [] : [list]), ...(classic === null ? [] : [`first, in a container: ${third.map(shown).join(', ')}; what they leave is the source of ${planned.plan.buildpack}, and their process types are added`]), ...planned.details],
  };
}

/** Third-party ones in front may write a Procfile, or say themselves how the app is started: then it is told once they have run. */
function planBehind(project: Project, own: readonly Builder[], from: string): ReturnType<typeof planOwn> {
  try { return planOwn(project, own, from, true); } catch (error) {
    if (project.procfile !== null || !(error instanceof StepFailure) || error.code !== 'detect.no-process') throw error;
    const planned = planOwn({ ...project, procfile: started(null) }, own, from, true);
    return { ...planned, plan: { ...planned.plan, processTypes: {} }, details: [...planned.details.filter((line) => !line.startsWith('Procfile: ')), 'no Procfile: the other buildpacks must say how it is started'] };
  }
}
