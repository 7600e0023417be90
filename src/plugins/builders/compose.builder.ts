import { StepFailure } from '../../events/step.js';
import type { Builder, Project } from './builder.port.js';
import { COMPOSE_FILES, planCompose } from './compose.js';
import { stages } from './dockerfile.builder.js';

const fileOf = ({ tree }: Project): string | undefined => COMPOSE_FILES.find((file) => tree.has(file));

/** A compose file whose services are one app. Asked last: most of them are for the developer's own machine. */
export const composeBuilder: Builder = {
  name: 'compose',
  title: 'Compose',
  looksFor: 'compose.yaml with a service that is built',
  detect(project) {
    const file = fileOf(project);
    return file === undefined ? null : { reason: `${file} is there` };
  },
  plan(project) {
    const file = fileOf(project);
    if (file === undefined) throw new StepFailure('detect.compose', 'setting builder says compose, and there is no compose file', `add ${COMPOSE_FILES[0]}, or: builder:set <app> selected`);
    const source = project.tree.text(file);
    if (source === null) throw new StepFailure('detect.compose', `${file} can't be read: it is no plain text file of at most 512 kB`, null);
    const { build, processTypes, port, services, notes } = planCompose(source, file);
    if (!project.tree.has(build.dockerfile)) throw new StepFailure('detect.compose', `${file} builds from ${build.dockerfile}, which is not in the repository`, 'commit it, or correct build: in the compose file');
    const text = project.tree.text(build.dockerfile);
    if (build.target !== null && text !== null && !stages(text).includes(build.target.toLowerCase())) throw new StepFailure('detect.target', `${file} builds the stage ${build.target}, which ${build.dockerfile} has not got`, `it has ${stages(text).filter((name) => name !== null).join(', ') || 'none with a name'}`);
    return {
      plan: {
        builder: 'dockerfile', buildpack: null, summary: `${file}: ${build.dockerfile}`, dockerfilePath: build.dockerfile, dockerfile: null, buildArgs: build.args, processTypes, releaseCommand: null,
        check: project.appJson.check, port: port ?? 5000, ...(build.context !== '' && { context: build.context }), ...(build.target !== null && { target: build.target }),
      },
      details: [
        `process types: ${Object.keys(processTypes).join(', ')}`,
        ...services.map(({ name, kind, version }) => `${name} is a service to create beside the app: ${kind}${version === null ? '' : ` ${version}`}`),
        ...notes,
      ],
      warnings: project.procfile === null ? [] : ['the Procfile is not used: the compose file decides'],
    };
  },
};
