import { constants } from 'node:fs';
import { access, open, readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { findProgram } from '../../drivers/plugin/plugin.driver.js';
import type { PluginManifest } from '../../events/types/plugin.events.js';
import { MANIFEST, readManifest, type Judged, type Surroundings } from '../../plugins/contract/manifest.js';
import type { Problem } from '../../plugins/contract/problems.js';

const MANIFEST_MAX = 256 * 1024;

/** Everything that is wrong with the plugin in a folder, without running any of it. */
export async function checkFolder(folder: string, around: Surroundings): Promise<Judged> {
  const file = join(folder, MANIFEST);
  const found = await stat(file).catch(() => null);
  if (!found?.isFile()) return { manifest: null, problems: [{ field: MANIFEST, what: 'is not there', fix: `a plugin has a ${MANIFEST} at its top; see docs/plugins.md` }] };
  if (found.size > MANIFEST_MAX) return { manifest: null, problems: [{ field: MANIFEST, what: `has ${found.size} bytes`, fix: `at most ${MANIFEST_MAX}` }] };
  const judged = readManifest(await readFile(file, 'utf8'), around);
  if (judged.manifest === null) return judged;
  const problems = await filesOf(folder, judged.manifest);
  return problems.length > 0 ? { manifest: null, problems } : judged;
}

async function filesOf(folder: string, manifest: PluginManifest): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const [i, name] of manifest.needs.entries()) if ((await findProgram(name)) === null) problems.push({ field: `needs[${i}]`, what: `is "${name}", which is not on this server`, fix: `install it, for example: apt install ${name}` });
  const runs = [
    ...manifest.commands.map(({ run }, i) => [`commands[${i}].run[0]`, run?.[0]] as const), ...manifest.hooks.map(({ run }, i) => [`hooks[${i}].run[0]`, run?.[0]] as const), ['events.run[0]', manifest.events?.run?.[0]] as const,
    ...(manifest.builders ?? []).map(({ run }, i) => [`builders[${i}].run[0]`, run?.[0]] as const),
    ...(manifest.projections ?? []).map(({ run }, i) => [`projections[${i}].run[0]`, run?.[0]] as const),
    ...(manifest.channels ?? []).map(({ run }, i) => [`channels[${i}].run[0]`, run?.[0]] as const),
  ];
  for (const [field, program] of runs) if (program !== undefined) problems.push(...(await programOf(folder, field, program, true)));
  if (manifest.main !== null) problems.push(...(await programOf(folder, 'main', `./${manifest.main.replace(/^\.\//, '')}`, false)));
  for (const [name, pack] of Object.entries(manifest.buildpacks)) {
    for (const part of ['bin/detect', 'bin/compile']) problems.push(...(await programOf(folder, `buildpacks.${name}`, `${pack.replace(/\/+$/, '')}/${part}`, true)));
  }
  return problems;
}

async function programOf(folder: string, field: string, program: string, runs: boolean): Promise<Problem[]> {
  if (!program.includes('/')) return (await findProgram(program)) === null ? [{ field, what: `is "${program}", which is not on this server`, fix: 'install it, or name a file of the plugin (./…)' }] : [];
  const path = await realpath(join(folder, program)).catch(() => null);
  const root = await realpath(folder);
  if (path === null || !(await stat(path)).isFile()) return [{ field, what: `is "${program}", which is not in the plugin`, fix: 'mend the path, or commit the file' }];
  if (!path.startsWith(`${root}/`)) return [{ field, what: `is "${program}", a link that leads out of the plugin`, fix: 'put the file itself there' }];
  if (!runs) return [];
  if (!(await access(path, constants.X_OK).then(() => true, () => false))) return [{ field, what: `is "${program}", which is not executable`, fix: `chmod +x ${program}; git update-index --chmod=+x ${program}` }];
  const missing = await interpreter(path);
  return missing === null ? [] : [{ field, what: `is "${program}", which wants ${missing}, and that is not on this server`, fix: 'install it, or mend its first line' }];
}

/** What a script's first line names and is not there; null when all is well. */
async function interpreter(path: string): Promise<string | null> {
  const handle = await open(path);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(256), 0, 256, 0);
    const line = /^#!\s*(\S+)(?:[ \t]+(\S+))?(?:[ \t]+(\S+))?[^\n]*\n?/.exec(buffer.toString('utf8', 0, bytesRead));
    if (!line) return null;
    const [, program, first, second] = line;
    if (!(await access(program!, constants.X_OK).then(() => true, () => false))) return program!;
    const named = program!.endsWith('/env') ? (first === '-S' ? second : first) : undefined;
    return named !== undefined && (await findProgram(named)) === null ? named : null;
  } finally {
    await handle.close();
  }
}
