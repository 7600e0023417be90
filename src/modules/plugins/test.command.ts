import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { IsString } from 'class-validator';
import { PluginDriver } from '../../drivers/plugin/plugin.driver.js';
import { refusedIn } from '../../drivers/engine/dockerfile-refused.js';
import type { PluginPrograms } from '../../drivers/plugin/plugin.port.js';
import { Rejected } from '../../events/decider.js';
import { SCHEMAS } from '../../events/types/all.events.js';
import type { DeclaredService, PluginManifest } from '../../events/types/plugin.events.js';
import type { BuilderAnswer } from '../../plugins/contract/builder.answer.js';
import type { Surroundings } from '../../plugins/contract/manifest.js';
import type { PluginCall, ProjectAnswer, ProjectCall, SeenEvent } from '../../plugins/contract/protocol.js';
import { tellProblem } from '../../plugins/contract/problems.js';
import { declaredType } from '../../plugins/services/declared.js';
import { dsnOf } from '../../plugins/services/types.js';
import { VERSION } from '../../version.js';
import { Arg, command } from '../commands/command.js';
import type { Plugin } from './active.js';
import { ask, loadMain } from './ask.js';
import { checkFolder } from './check.js';
import { differences, sampleCalls, sampleEvents } from './sample.js';

class TestInput {
  @IsString() @Arg('the plugin\'s folder') folder!: string;
}

interface Tried { readonly what: string; readonly tookMs: number; readonly ok: boolean; readonly said: readonly string[] }

/** What a plugin is judged against where no server is asked. */
export const around = (isOurs: (name: string) => boolean): Surroundings => ({ berth: VERSION, types: new Set(Object.keys(SCHEMAS)), isOurs });

/** A case that the plugin brings along: `tests/<name>.json`. */
interface Case { readonly call: PluginCall; readonly expect?: unknown; readonly exit?: number; readonly fault?: boolean }

async function casesOf(folder: string, manifest: PluginManifest, data: string): Promise<{ name: string; given: Case }[]> {
  const own = (await readdir(join(folder, 'tests')).catch(() => [])).filter((name) => name.endsWith('.json')).toSorted();
  const samples = sampleCalls(manifest, data);
  return Promise.all(own.map(async (name) => {
    const { call, ...rest } = JSON.parse(await readFile(join(folder, 'tests', name), 'utf8')) as Omit<Case, 'call'> & { call: { command?: string; hook?: string; event?: object; projection?: string; events?: readonly Partial<SeenEvent>[]; channel?: string; options?: object; message?: object; builder?: string; paths?: readonly string[]; files?: Readonly<Record<string, string>> } };
    const like = samples.find(({ call: sample }) => (call.command !== undefined ? sample.call === 'command' && sample.command === call.command : typeof call.hook === 'string' ? sample.call === 'hook' && `${sample.hook.when} ${sample.hook.step}` === call.hook : call.projection !== undefined ? sample.call === 'project' && sample.projection === call.projection : call.builder !== undefined ? sample.call === 'builder' && sample.builder === call.builder : call.channel !== undefined ? sample.call === 'notify' && sample.channel.name === call.channel : sample.call === 'event'));
    if (!like) throw new Rejected('plugin.case', `tests/${name}: the plugin has nothing for this call`, 'a case has { "call": { "command": "…" } }, { "call": { "hook": "before build" } }, { "call": { "event": { "type": "…" } } }, { "call": { "channel": "…" } }, { "call": { "builder": "…", "files": { "main.cob": "…" } } } or { "call": { "projection": "…", "events": [{ "type": "…" }] } }');
    const { hook: _, event, events, channel, options, message, ...more } = call;
    const of = like.call.call === 'notify' && channel !== undefined ? { channel: { name: channel, options: { ...like.call.channel.options, ...options } }, message: { ...like.call.message, ...message } } : null;
    return { name: `tests/${name}`, given: { ...rest, call: { ...like.call, ...more, ...(call.builder !== undefined && call.files && { paths: (call.paths ?? Object.keys(call.files)).toSorted() }), ...of, ...(event && { event: { ...(like.call as { event?: object }).event, ...event } }), ...(events && { events: sampleEvents(events) }) } as PluginCall } };
  }));
}

/** What is wrong with an answer although it is one: a Dockerfile that no build gets. */
function amiss(call: PluginCall, answer: unknown): string[] {
  const plan = call.call === 'builder' ? (answer as BuilderAnswer).plan : undefined;
  const refused = plan ? refusedIn(plan.dockerfile) : null;
  return refused ? [`line ${refused.line} of its Dockerfile: ${refused.what}: ${refused.hint}`] : [];
}

/** Fills in what a type of service says, as for a service `my-db`, and has its script read by its shell. @throws Error what is wrong with it */
async function tryType(plugin: Plugin, declared: DeclaredService, programs: PluginPrograms, signal: AbortSignal, said: string[]): Promise<boolean> {
  const type = declaredType(plugin.name, declared);
  const dsn = dsnOf(type, 'my-db', "it's 100%/well", null);
  if (!URL.canParse(dsn)) throw new Error(`its DSN is no URL: ${dsn}`);
  said.push(`an app gets ${type.variable}=${dsn}`);
  const [, shell] = /^#!\s*(?:\/usr\/bin\/env\s+)?(\S*\b(?:ba|da)?sh)\s*(?:-\S+)?$/.exec(declared.packaged?.script[0] ?? '') ?? [];
  if (shell === undefined) return true;
  const file = join(plugin.data, `${type.type}.sh`);
  await writeFile(file, type.packaged!.script);
  const { code } = await programs.run({ argv: [basename(shell), '-n', file], code: plugin.code!, data: plugin.data, uid: null, env: {}, input: '', timeoutMs: 10_000, signal, onLine: (line) => { said.push(line); } });
  return code === 0;
}

async function oneByOne(call: ProjectCall, fold: (page: ProjectCall) => Promise<{ readonly state: unknown }>): Promise<{ readonly state: unknown }> {
  let state: unknown = null;
  for (const event of call.events) state = (await fold({ ...call, state, events: [event] })).state;
  return { state };
}

export const testCommand = (isOurs: (name: string) => boolean) => command({
  name: 'plugin:test', summary: 'Check a plugin and try out all that it declares; needs no server', example: 'berth plugin:test ./berth-hello', input: TestInput, http: { method: 'POST', path: '/plugin-tests' }, local: true, reads: true,
  offline: () => true,
  run: async ({ signal }, { folder: given }): Promise<{ plugin: string; version: string; problems: string[]; tried: Tried[] }> => {
    const folder = resolve(given);
    if (!(await stat(folder).catch(() => null))?.isDirectory()) throw new Rejected('plugin.folder', `There is no folder ${given}`);
    const { manifest, problems } = await checkFolder(folder, around(isOurs));
    if (manifest === null) return { plugin: given, version: '', problems: problems.map(tellProblem), tried: [] };
    const data = await mkdtemp(join(tmpdir(), 'berth-plugin-'));
    const plugin: Plugin = { name: manifest.name, manifest, enabled: true, reason: null, data, handlers: null, code: folder, uid: null };
    const programs = new PluginDriver();
    const tried: Tried[] = [];
    const attempt = async (what: string, work: (said: string[]) => Promise<boolean>): Promise<void> => {
      const started = performance.now();
      const said: string[] = [];
      const ok = await work(said).catch((error: unknown) => { said.push((error as Error).message); return false; });
      tried.push({ what, tookMs: Math.round(performance.now() - started), ok, said });
    };
    try {
      const cases = await casesOf(folder, manifest, data);
      if (manifest.main !== null) await attempt(`load ${manifest.main}`, async (said) => { await loadMain(plugin, { programs, signal, onLine: (line) => { said.push(line); } }); return true; });
      for (const declared of manifest.services ?? []) await attempt(`service type ${declared.type}`, (said) => tryType(plugin, declared, programs, signal, said));
      for (const { what, call } of sampleCalls(manifest, data)) {
        await attempt(what, async (said) => {
          const { answer, exit } = await ask(plugin, call, { programs, signal, onLine: (line) => { said.push(line); } });
          // a command may rightly have nothing to say to what nobody asked in earnest
          said.push(`${exit === 0 ? '' : `exit code ${exit}, `}${JSON.stringify(answer)}`);
          const wrong = amiss(call, answer);
          said.push(...wrong);
          if (call.call !== 'project') return wrong.length === 0;
          // pages end anywhere: that must not show in the state
          const { state } = await oneByOne(call, async (page) => (await ask(plugin, page, { programs, signal, onLine: () => {} })).answer);
          if (isDeepStrictEqual(state, (answer as ProjectAnswer).state)) return true;
          said.push(`the same events one by one: ${JSON.stringify({ state })}`, 'a page ends anywhere: both must come to the same state, and all that fold needs must stand in it');
          return false;
        });
      }
      for (const { name, given: { call, expect, exit: code = 0, fault = false } } of cases) {
        await attempt(name, async (said) => {
          try {
            const { answer, exit } = await ask(plugin, call, { programs, signal, onLine: (line) => { said.push(line); } });
            const found = [...(fault ? ['it was to fail, and did not'] : []), ...(exit === code ? [] : [`exit code ${exit}, not ${code}`]), ...differences(expect, answer, 'answer'), ...amiss(call, answer)];
            said.push(...(found.length > 0 ? [...found, JSON.stringify(answer)] : []));
            return found.length === 0;
          } catch (error) {
            said.push((error as Error).message);
            return fault;
          }
        });
      }
      return { plugin: manifest.name, version: manifest.version, problems: [], tried };
    } finally {
      await rm(data, { recursive: true, force: true });
    }
  },
  render: ({ plugin, version, problems, tried }, out) => {
    if (problems.length > 0) {
      out.warn(`${plugin} is not a plugin that can be installed:`);
      for (const problem of problems) out.warn(problem);
      return 1;
    }
    out.info(`${plugin} ${version}: its manifest and files are well`);
    for (const { what, tookMs, ok, said } of tried) {
      if (ok) out.detail(`${what}: well, ${tookMs} ms`);
      else out.warn(`${what}: failed, ${tookMs} ms`);
      for (const line of said) out.detail(`  ${line}`);
    }
    return tried.every(({ ok }) => ok) ? 0 : 1;
  },
});
