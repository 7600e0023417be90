import type { ClassicPlan } from '../../../events/types/deploy.events.js';
import { StepFailure } from '../../../events/step.js';
import type { Builder, Planned, Project } from '../builder.port.js';
import { buildArgs } from '../dockerfile.builder.js';
import { STACK_SETTING, type Named } from './named.js';
import { shown, SOURCES, textOf } from './reference.js';
import { withStart } from './start.js';

export interface PlannedNamed extends Planned { readonly title: string; readonly reason: string }

/**
 * The plan for buildpacks that an app names. Third-party ones decide for themselves in their container; one of ours is asked as
 * any other would be, and makes the image out of what the others leave.
 * @throws StepFailure `detect.buildpacks` the list can't be put together, `detect.buildpack` one of ours does not fit
 */
export function planNamed(project: Project, { from, buildpacks }: Named, builders: readonly Builder[]): PlannedNamed {
  const own = buildpacks.flatMap((reference) => (reference.kind === 'own' ? builders.filter((builder) => builder.name === reference.name) : []));
  const third = buildpacks.filter((reference) => reference.kind !== 'own').map(textOf);
  if (own.length > 1) {
    const names = own.map((builder) => builder.name);
    throw new StepFailure('detect.buildpacks', `${from}: ${names.join(' and ')} are both buildpacks of ours, and only one of them can make the image`,
      `leave one of them out, name one by its address (https://github.com/heroku/heroku-buildpack-…) so that it runs before the other, or use a Dockerfile`);
  }
  const reason = `named by ${from}`;
  const classic: ClassicPlan | null = third.length === 0 ? null : {
    buildpacks: third, ownAt: own.length === 0 ? null : buildpacks.findIndex((reference) => reference.kind === 'own'),
    // Heroku asks every one of a list; a BUILDPACK_URL was always used without more ado where that was the way to name one
    strict: from !== SOURCES.config && from !== SOURCES.envFile, stack: project.settings[STACK_SETTING] || null,
    procfile: project.settings['procfile-path'] ? 'setting' : project.procfile === null ? 'none' : 'source',
  };
  const names = buildpacks.map((reference) => shown(textOf(reference)));
  const list = names.length === 1 ? `buildpack ${names[0]}` : `buildpacks ${names.join(', ')}`;
  const builder = own[0];
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
  const detection = builder.detect(project);
  if (detection === null) throw new StepFailure('detect.buildpack', `the ${builder.name} buildpack (${from}) does not fit: it looks for ${builder.looksFor}`, `add one of these files, or take ${builder.name} out of the list`);
  const planned = builder.plan(project);
  return {
    title: builder.title, reason: `${reason}; ${detection.reason}`, warnings: planned.warnings,
    plan: classic === null ? planned.plan : { ...planned.plan, classic, summary: `${planned.plan.summary}; ${third.map(shown).join(', ')}`, dockerfile: planned.plan.dockerfile === null ? null : withStart(planned.plan.dockerfile) },
    details: [...(classic === null ? [] : [list]), ...planned.details],
  };
}
