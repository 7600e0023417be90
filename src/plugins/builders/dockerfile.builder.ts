import type { ProcessTypes } from '../../events/types/deploy.events.js';
import { StepFailure } from '../../events/step.js';
import type { Builder, Project } from './builder.port.js';

/** Tcp ports that the last stage exposes as far as the text tells; information only, the image decides. */
export function exposedPorts(dockerfile: string): number[] {
  let ports: number[] = [];
  for (const line of dockerfile.replace(/\\\r?\n/g, ' ').split(/\r?\n/)) {
    if (/^\s*FROM\s/i.test(line)) ports = [];
    const expose = /^\s*EXPOSE\s+(.*)$/i.exec(line);
    for (const word of expose?.[1]!.split(/\s+/) ?? []) {
      const port = /^(\d{1,5})(?:\/tcp)?$/i.exec(word);
      if (port && Number(port[1]) > 0 && Number(port[1]) < 65536) ports.push(Number(port[1]));
    }
  }
  return [...new Set(ports)];
}

/** Config keys named by the setting `build-args` (`A,B C`). */
export function buildArgs(project: Project): string[] {
  const names = (project.settings['build-args'] ?? '').split(/[\s,]+/).filter((name) => name !== '');
  const odd = names.find((name) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name));
  if (odd !== undefined) throw new StepFailure('detect.build-args', `setting build-args: ${JSON.stringify(odd)} is not the name of a variable`, 'names, separated by commas');
  return [...new Set(names)];
}

const pathOf = (project: Project): string => (project.settings['dockerfile-path'] || 'Dockerfile').replace(/^(\.?\/)+/, '');

/** A Dockerfile at the root, or where the setting `dockerfile-path` says. */
export const dockerfileBuilder: Builder = {
  name: 'dockerfile',
  title: 'Dockerfile',
  looksFor: 'Dockerfile (setting dockerfile-path)',
  detect(project) {
    const path = pathOf(project);
    if (project.tree.has(path)) return { reason: `${path} is there` };
    if (project.settings['dockerfile-path']) throw new StepFailure('detect.dockerfile', `setting dockerfile-path says ${path}, which is not in the repository`, 'correct the setting or add the file');
    return null;
  },
  plan(project) {
    const path = pathOf(project);
    const text = project.tree.text(path);
    if (text !== null && !/^\s*FROM\s+\S/im.test(text)) throw new StepFailure('detect.dockerfile', `${path} has no FROM`, 'a Dockerfile begins with FROM <image>');
    const exposed = text === null ? [] : exposedPorts(text);
    const declared = project.procfile?.processes ?? {};
    const processTypes: ProcessTypes = project.procfile === null ? { web: null } : declared;
    return {
      plan: {
        builder: 'dockerfile', buildpack: null, summary: path, dockerfilePath: path, dockerfile: null, buildArgs: buildArgs(project),
        processTypes, releaseCommand: project.procfile?.release ?? null, check: project.appJson.check, port: 5000,
      },
      details: exposed.length > 0 ? [`EXPOSE ${exposed.join(' ')}`] : ['no EXPOSE: the app is expected on $PORT (5000)'],
      warnings: [],
    };
  },
};
