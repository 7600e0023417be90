import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pack } from 'tar-stream';
import type { EnginePort } from '../../../drivers/engine/engine.port.js';
import type { ToolPort } from '../../../drivers/tool/tool.port.js';
import type { BuildOutput, ProcessTypes } from '../../../events/types/deploy.events.js';
import { StepFailure, type StepContext } from '../../../events/step.js';
import { EXTERNAL, isExternal, packProcesses, toolCall, type External } from './tools.js';

export interface ExternalDeps {
  readonly engine: EnginePort;
  readonly tools: ToolPort;
  readonly instance: string;
  readonly dockerSocket: string;
  /** folder for work trees; what is in it belongs to no one once the step has ended */
  readonly folder: string;
  /** files below a folder as a tar stream; `extra`: path → text beside them */
  readonly packFolder: (folder: string, options?: { readonly extra: Readonly<Record<string, string>> }) => Readable;
  readonly env: (app: string, configVersion: number) => Promise<Readonly<Record<string, string>>> | Readonly<Record<string, string>>;
}

/** where a tool that writes a Dockerfile puts it */
const NIXPACKS = '.nixpacks/Dockerfile';
const RAILPACK_FRONTEND = 'ghcr.io/railwayapp/railpack-frontend';

/**
 * Builds with a program of the host: `pack` makes the image by itself, Nixpacks and Railpack say how and the engine builds it under our limits.
 * Throws StepFailure: `build.no-tool` (it is not installed), `build.failed`, `build.timeout`, `build.no-process`, and what the engine throws.
 */
export function externalBuild(deps: ExternalDeps): (context: StepContext<'build'>) => Promise<BuildOutput> {
  return async (context) => {
    const { input, log } = context;
    const { plan } = input;
    const tool = plan.buildpack ?? '';
    if (!isExternal(tool)) throw new StepFailure('build.no-builder', `there is no builder ${tool}`, `${Object.keys(EXTERNAL).join(', ')}`);
    const program = await deps.tools.find(tool);
    if (program === null) throw new StepFailure('build.no-tool', `${tool} is not installed on this server`, `${EXTERNAL[tool].install}; or let Berth choose: builder:set ${input.name} selected`);
    const engine = deps.engine.observed((name, ms, detail) => log.call(name, ms, detail));
    const work = join(deps.folder, context.job);
    await rm(work, { recursive: true, force: true });
    const source = join(work, 'source');
    const out = join(work, 'out');
    try {
      await mkdir(source, { recursive: true });
      await mkdir(out);
      const tar = await deps.tools.run('/bin/tar', ['-x', '--no-same-owner', '-f', input.source, '-C', source], { cwd: work, env: {}, signal: context.signal, onLine: (line) => log.output(line) });
      if (tar !== 0) throw new StepFailure('build.unpack', `the source could not be unpacked (tar ended with ${tar})`, 'is there room on the disk?', 'machine');
      const all = await deps.env(input.app, input.configVersion);
      const env = Object.fromEntries(plan.buildArgs.flatMap((name) => (Object.hasOwn(all, name) ? [[name, all[name]!]] : [])));
      const made = `${deps.instance}/${input.name}:${context.deploy}-${tool}`;
      await run(deps.tools, program, tool, { source, out, tag: made, builder: plan.image?.reference ?? '', socket: deps.dockerSocket, env }, context);
      return await (tool === 'pack' ? relabelled(engine, deps, made, context) : fromOutput(engine, deps, tool, { source, out }, env, context));
    } finally { await rm(work, { recursive: true, force: true }); }
  };
}

async function run(tools: ToolPort, program: string, tool: External, given: Parameters<typeof toolCall>[1], { input, log, signal }: StepContext<'build'>): Promise<void> {
  const { args, env } = toolCall(tool, given);
  const deadline = input.limits.timeoutMs > 0 ? AbortSignal.timeout(input.limits.timeoutMs) : null;
  const started = performance.now();
  let tail = '';
  try {
    const ended = await tools.run(program, args, { cwd: given.out, env, signal: deadline === null ? signal : AbortSignal.any([signal, deadline]), onLine: (line) => { if (line.trim() !== '') tail = line.trim(); log.output(line, true); } });
    log.call(`${tool}.${args[0]}`, performance.now() - started, `exit ${ended}`);
    if (ended !== 0) throw new StepFailure('build.failed', `${tool} ${typeof ended === 'number' ? `ended with ${ended}` : `was ended by ${ended}`}${tail === '' ? '' : `: ${tail.slice(0, 200)}`}`, 'its output above says why');
  } catch (error) {
    if (deadline?.aborted && !signal.aborted) throw new StepFailure('build.timeout', `${tool} did not end within ${Math.round(input.limits.timeoutMs / 1000)} s`, 'BERTH_BUILD_TIMEOUT is the limit, in seconds', 'user', { cause: error });
    throw error;
  }
}

const marksOf = (deps: ExternalDeps, { input, deploy, attempt, job }: StepContext<'build'>): { instance: string; app: string; deploy: number; attempt: number; job: string } =>
  ({ instance: deps.instance, app: input.app, deploy, attempt, job });

/** The image of `pack` under our name and labels; the launcher's programs become process types. */
async function relabelled(engine: EnginePort, deps: ExternalDeps, made: string, context: StepContext<'build'>): Promise<BuildOutput> {
  const { input, deploy, log, signal } = context;
  const found = await engine.inspectImage(made);
  if (found === null) throw new StepFailure('build.failed', `pack ended well and made no image ${made}`, 'pack must use the engine of this server');
  const processTypes: ProcessTypes = input.plan.processTypes['web'] === null ? packProcesses(found.labels) : input.plan.processTypes;
  const tag = `${deps.instance}/${input.name}:${deploy}`;
  const web = processTypes['web'];
  const files = pack();
  files.entry({ name: 'Dockerfile' }, `FROM ${made}\nENTRYPOINT []\n${web ? `CMD ${JSON.stringify([web])}\n` : ''}`);
  files.finalize();
  const image = await engine.build(files as unknown as Readable, { dockerfile: 'Dockerfile', tag, labels: marksOf(deps, context), buildArgs: {}, secrets: {}, signal, limits: input.limits, onLine: (line) => log.output(line) });
  await engine.removeImage(made);
  log.detail(`Process types: ${Object.keys(processTypes).join(', ')}`);
  return { image: tag, imageId: image.id, bytes: image.bytes, exposed: image.exposed, processTypes, releaseCommand: input.plan.releaseCommand };
}

/** Nixpacks left a Dockerfile and a copy of the source, Railpack a plan for a frontend of its own. */
async function fromOutput(engine: EnginePort, deps: ExternalDeps, tool: 'nixpacks' | 'railpack', folders: { source: string; out: string }, env: Readonly<Record<string, string>>, context: StepContext<'build'>): Promise<BuildOutput> {
  const { input, deploy, log, signal } = context;
  const tag = `${deps.instance}/${input.name}:${deploy}`;
  const plan = tool === 'railpack' ? await readFile(join(folders.out, 'railpack-plan.json'), 'utf8') : null;
  const image = await engine.build(plan === null ? deps.packFolder(folders.out) : deps.packFolder(folders.source, { extra: { 'railpack-plan.json': plan } }), {
    dockerfile: plan === null ? NIXPACKS : 'railpack-plan.json', tag, labels: marksOf(deps, context), secrets: {}, signal, limits: input.limits,
    buildArgs: { ...env, ...(plan === null ? {} : { BUILDKIT_SYNTAX: RAILPACK_FRONTEND }) }, onLine: (line) => log.output(line), onNote: (text) => log.warn(text),
  });
  return { image: tag, imageId: image.id, bytes: image.bytes, exposed: image.exposed, processTypes: input.plan.processTypes, releaseCommand: input.plan.releaseCommand };
}
