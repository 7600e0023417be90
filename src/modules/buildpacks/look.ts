import { mkdtemp, rm, stat } from 'node:fs/promises';
import { createWriteStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { packFolder } from '../../drivers/archive/folder-tar.js';
import { stackFor } from '../../drivers/stack/stack-for.js';
import { Rejected } from '../../events/decider.js';
import { StepFailure } from '../../events/step.js';
import { DETECT_CONFIG_KEYS } from '../../plugins/builders/builder.port.js';
import { BUILDPACKS } from '../../plugins/builders/buildpacks.js';
import { stackOf } from '../../plugins/builders/foreign-stack.js';
import { namedPaths, NothingFits, projectOf, select, type Selected } from '../../plugins/builders/select.js';
import { readSourceTree, within } from '../../plugins/builders/source-tree.js';
import { withGlobalStack } from '../apps/app-context.js';
import { server } from '../server/server.decider.js';
import { checkBranch } from '../apps/app.decider.js';
import { pluginBuilders } from '../plugins/builders.js';
import type { Core } from '../core.js';

export interface Looked extends Selected {
  /** null: a folder that is no app */
  readonly app: string | null;
  readonly branch: string | null;
  readonly sha: string | null;
}

async function inTemporary<T>(work: (file: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'berth-detect-'));
  try { return await work(join(folder, 'source.tar')); }
  catch (error) {
    if (error instanceof StepFailure) throw new Rejected(error.code, error instanceof NothingFits ? `${error.message}. They look for ${error.lookedFor.join('; ')}` : error.message, error.hint);
    throw error;
  } finally { await rm(folder, { recursive: true, force: true }); }
}

/**
 * What the next deploy would detect: the code that is in the repository, with today's settings and config.
 * @throws Rejected what detection throws, with its code; `buildpacks.no-code` when the branch is not there
 */
export async function lookAtApp(core: Core, app: string, branch: string | undefined, signal: AbortSignal): Promise<Looked> {
  const row = await core.app(app);
  const { git, transfer } = core;
  if (!git?.archive || !transfer) throw new Rejected('git.none', 'This server has no git');
  if (branch !== undefined) checkBranch(branch);
  const { refs } = await transfer.refs(await git.init(row.id));
  const wanted = branch ?? row.branch;
  const name = wanted ?? ['main', 'master'].find((one) => refs[`refs/heads/${one}`] !== undefined) ?? 'main';
  const sha = refs[`refs/heads/${name}`];
  if (sha === undefined) throw new Rejected('buildpacks.no-code', `There is no branch ${name} in the repository of ${app}`, `git push berth ${name}`);
  const env = await core.env(row.id);
  const settings = { ...withGlobalStack(row.settings, (await core.repository.load(server, 'server')).state), ...Object.fromEntries(DETECT_CONFIG_KEYS.flatMap((key) => (env[key] === undefined ? [] : [[key, env[key]]]))) };
  return inTemporary(async (file) => {
    await git.archive!(row.id, sha, file, signal);
    const build = row.settings['build-dir'];
    const start = build === undefined ? '' : `${build}/`;
    const named = namedPaths(settings);
    const builders = core.pluginHost === null ? null : await pluginBuilders(core.pluginHost);
    const tree = await readSourceTree(file, (path) => path.startsWith(start) && (named.includes(path.slice(start.length)) || (builders?.wants(path.slice(start.length)) ?? false)), signal);
    const project = projectOf(row.id, build === undefined ? tree : within(tree, build), settings, stackOf(settings, stackFor()));
    return { app, branch: name, sha, ...select(project, BUILDPACKS, await builders?.ask(project, { id: row.id, name: app }, signal, () => {})) };
  });
}

/** The same for a folder as it lies there (`.git` left out), without any settings. @throws Rejected as above; `folder.none` */
export async function lookAtFolder(path: string, signal: AbortSignal): Promise<Looked> {
  const folder = resolve(path);
  if (!(await stat(folder).catch(() => null))?.isDirectory()) throw new Rejected('folder.none', `There is no folder ${path}`, 'for example: berth builder:plan --dir .');
  return inTemporary(async (file) => {
    await pipeline(packFolder(folder, { leave: (name) => name === '.git' || name === 'node_modules' }), createWriteStream(file), { signal });
    return { app: null, branch: null, sha: null, ...select(projectOf('app', await readSourceTree(file, [], signal), {}, stackFor())) };
  });
}
