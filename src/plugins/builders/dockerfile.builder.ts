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

/** The stages of a Dockerfile: their names, null for one without. */
export function stages(dockerfile: string): (string | null)[] {
  const lines = dockerfile.replace(/\\\r?\n/g, ' ').split(/\r?\n/);
  return lines.flatMap((line) => {
    const from = /^\s*FROM\s+(?:--\S+\s+)*\S+(?:\s+AS\s+(\S+))?/i.exec(line);
    return from ? [from[1]?.toLowerCase() ?? null] : [];
  });
}

/** The stage that was set, if the Dockerfile has it. */
function targetOf({ settings }: Project, path: string, text: string | null): { target?: string } {
  const target = settings['dockerfile-target'];
  if (!target) return {};
  const found = text === null ? null : stages(text);
  const index = /^\d+$/.test(target) ? Number(target) : -1;
  if (found !== null && !found.includes(target.toLowerCase()) && !(index >= 0 && index < found.length)) {
    const named = found.filter((name) => name !== null);
    throw new StepFailure('detect.target', `setting target says ${JSON.stringify(target).slice(0, 80)}, and ${path} has no stage of that name`, named.length > 0 ? `it has ${named.join(', ')}: builder-dockerfile:set <app> target <stage>` : 'name a stage in it: FROM image AS name');
  }
  return { target };
}

const PLATFORM = /^[a-z0-9]{1,20}\/[a-z0-9]{1,20}(\/[a-z0-9]{1,20})?$/;
function platformOf({ settings: { platform } }: Project): { platform?: string } {
  if (!platform) return {};
  if (!PLATFORM.test(platform)) throw new StepFailure('detect.platform', `setting platform says ${JSON.stringify(platform).slice(0, 80)}`, 'for example: linux/amd64, linux/arm64');
  return { platform };
}

/** Config keys named by the setting `build-args` (`A,B C`). */
export const buildArgs = (project: Project): string[] => namesIn(project, 'build-args');

function namesIn(project: Project, setting: 'build-args' | 'build-secrets'): string[] {
  const names = (project.settings[setting] ?? '').split(/[\s,]+/).filter((name) => name !== '');
  const odd = names.find((name) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name));
  if (odd !== undefined) throw new StepFailure(`detect.${setting}`, `setting ${setting}: ${JSON.stringify(odd)} is not the name of a variable`, 'names, separated by commas');
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
    const processTypes: ProcessTypes = project.procfile?.processes ?? setProcesses(project);
    const args = buildArgs(project);
    const secrets = namesIn(project, 'build-secrets');
    return {
      plan: {
        builder: 'dockerfile', buildpack: null, summary: path, dockerfilePath: path, dockerfile: null, buildArgs: args,
        processTypes, releaseCommand: project.procfile?.release ?? null, check: project.appJson.check, port: exposed[0] ?? 5000,
        ...targetOf(project, path, text), ...platformOf(project), ...(secrets.length > 0 && { secrets }),
      },
      details: exposed.length > 0 ? [`EXPOSE ${exposed.join(' ')}`] : ['no EXPOSE: the app is expected on $PORT (5000)'],
      warnings: [],
    };
  },
};

const PROCESS = 'process.';
/** `process.worker` among the settings → its command; web is the image's own command unless said. */
function setProcesses({ settings }: Project): ProcessTypes {
  return { web: null, ...Object.fromEntries(Object.entries(settings).flatMap(([key, command]) => (key.startsWith(PROCESS) ? [[key.slice(PROCESS.length), command]] : []))) };
}
