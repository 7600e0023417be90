/** One-line changes of apps that our buildpacks build: Berth's clone, detect and build beside the same commands by hand in a container that is kept; cold beside warm. `bench/README.md` */
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { withHostCa, CA_SECRETS } from '../src/drivers/engine/dockerfile-ca.js';
import { openSession } from '../src/drivers/engine/buildkit/session.js';
import { parseDockerfile } from '../src/drivers/engine/dockerfile-lines.js';
import { jks } from '../src/drivers/engine/jks.js';
import type { BuildPlan } from '../src/events/types/deploy.events.js';
import { startBerth } from '../test/lib/berth-fixture.js';
import { contextOf, engine, machine, option, random, removeImages, Table, timed, verdict, word, type Files } from './lib.js';

const RUNS = option('runs', 5);
const checkout = join(import.meta.dirname, '../..');
const read = (folder: string): Record<string, Buffer> => Object.fromEntries(readdirSync(folder, { recursive: true }).map(String).filter((name) => name !== 'expect.json' && statSync(join(folder, name)).isFile()).map((name) => [name, readFileSync(join(folder, name))]));
/** the file that changes, and how a comment looks there */
const APPS: Record<string, { folder: string; file: string; comment: (mark: string) => string }> = {
  django: { folder: 'deploy/samples/blog', file: 'blog/templates/blog/base.html', comment: (mark) => `<!-- ${mark} -->\n` },
  node: { folder: 'test/builders/apps/node-npm', file: 'index.js', comment: (mark) => `// ${mark}\n` },
  go: { folder: 'test/builders/apps/go-module', file: 'cmd/web/main.go', comment: (mark) => `// ${mark}\n` },
  rust: { folder: 'test/builders/apps/rust-std', file: 'src/main.rs', comment: (mark) => `// ${mark}\n` },
};
/** what a build may use by default; by hand no more */
const CPUS = Math.max(1, availableParallelism() / 2);
const names = (word('apps') ?? 'django,node,go').split(',');

const name = `bench${random()}`;
const berth = await startBerth({ instance: name });
const docker = new Docker({ socketPath: berth.env['BERTH_DOCKER'] });
const ca = berth.env['BERTH_BUILD_CA'] ? readFileSync(berth.env['BERTH_BUILD_CA'], 'utf8') : null;

interface Command { readonly text: string; readonly env: readonly string[] }
/** What the Dockerfile runs, in its order, without mounts; where its first stage with a command is based on the one before, that stage is begun with. */
function commandsOf(dockerfile: string): { readonly from: string; readonly folder: string; readonly commands: readonly Command[] } {
  const { lines, instructions } = parseDockerfile(dockerfile);
  const stages: { from: string; name: string; env: string[]; folder: string; commands: string[] }[] = [];
  for (const { keyword, first, last, keywordEnd } of instructions) {
    const rest = [lines[first]!.slice(keywordEnd), ...lines.slice(first + 1, last + 1)].join('\n').trim();
    if (keyword === 'FROM') {
      const [, from = '', as = ''] = /^(\S+)(?:\s+AS\s+(\S+))?/i.exec(rest) ?? [];
      const under = stages.find((stage) => stage.name === from);
      stages.push({ from, name: as, env: [...(under?.env ?? [])], folder: under?.folder ?? '/', commands: [] });
    } else if (keyword === 'ENV' || keyword === 'ARG' && rest.includes('=')) stages.at(-1)!.env.push(...rest.split(/\s+(?=\w+=)/));
    else if (keyword === 'WORKDIR') stages.at(-1)!.folder = rest;
    else if (keyword === 'RUN') stages.at(-1)!.commands.push(rest.replace(/^(?:--\S+\s+)+/, ''));
  }
  // tools are fetched once in a stage of their own: by hand nobody does that again
  const tools = stages.filter((stage) => stages.some(({ from }) => from === stage.name));
  const rest = stages.filter((stage) => !tools.includes(stage));
  const folder = rest.find(({ commands }) => commands.length > 0)?.folder ?? '/app';
  return { from: rest[0]!.from, folder, commands: rest.flatMap(({ commands, env }) => commands.map((text) => ({ text, env }))) };
}

function planOf(): BuildPlan {
  const db = new DatabaseSync(join(berth.root, 'berth.db'), { readOnly: true });
  try {
    return (JSON.parse(String(db.prepare("SELECT data FROM events WHERE type = 'BuildpackDetected' ORDER BY position DESC LIMIT 1").get()?.['data'])) as { output: BuildPlan }).output;
  } finally {
    db.close();
  }
}

/** A container in which somebody works: begun from the image that the Dockerfile's first commands run in. */
class Kept {
  private constructor(private readonly id: string, private readonly folder: string, private readonly commands: readonly Command[], private readonly tag: string) {}

  static async open(app: string, plan: BuildPlan, files: Files): Promise<Kept> {
    const { from, folder, commands } = commandsOf(plan.dockerfile!);
    let image = from;
    if (!from.includes('/')) {
      const session = await openSession(docker, ca === null ? {} : { [CA_SECRETS.pem]: ca, [CA_SECRETS.jks]: jks(ca) }, () => Promise.resolve(undefined));
      try {
        image = `${name}/tools-${app}:1`;
        const told = await engine<string>('POST', `/build?t=${encodeURIComponent(image)}&version=2&target=${from}&dockerfile=.berth/Dockerfile&session=${session.id}`, await contextOf({ ...files, ...plan.files, '.berth/Dockerfile': ca === null ? plan.dockerfile! : withHostCa(plan.dockerfile!) }));
        if (told.includes('"error"')) throw new Error(told.slice(-500));
      } finally {
        session.close();
      }
    }
    const trust = ca === null ? [] : ['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS', 'PIP_CERT', 'REQUESTS_CA_BUNDLE', 'CARGO_HTTP_CAINFO'].map((key) => `${key}=/tmp/ca.pem`);
    const { Id: id } = await engine<{ Id: string }>('POST', '/containers/create', { Image: image, Cmd: ['sleep', '86400'], Env: trust, User: '0:0', HostConfig: { Init: true, NanoCpus: 1e9 * CPUS } });
    await engine('POST', `/containers/${id}/start`);
    const kept = new Kept(id, folder, commands, `${name}/by-hand-${app}:1`);
    if (ca !== null) await engine('PUT', `/containers/${id}/archive?path=/tmp`, await contextOf({ 'ca.pem': Buffer.from(ca) }));
    await kept.run(`mkdir -p ${folder}`, [], '/');
    return kept;
  }

  private async run(text: string, env: readonly string[], folder = this.folder): Promise<void> {
    const { Id: exec } = await engine<{ Id: string }>('POST', `/containers/${this.id}/exec`, { Cmd: ['/bin/sh', '-c', text], Env: env, WorkingDir: folder, AttachStdout: true, AttachStderr: true });
    const told = await engine<string>('POST', `/exec/${exec}/start`, { Detach: false, Tty: false });
    const { ExitCode: code } = await engine<{ ExitCode: number }>('GET', `/exec/${exec}/json`);
    if (code !== 0) throw new Error(`by hand: ${text} ended with ${code}: ${told.slice(-800)}`);
  }

  /** The files put in, everything run, an image made of it. */
  async rebuild(files: Files): Promise<void> {
    await engine('PUT', `/containers/${this.id}/archive?path=${this.folder}`, await contextOf(files));
    // layers begin empty
    await this.run('rm -rf /out', []);
    for (const { text, env } of this.commands) await this.run(text, env);
    await engine('POST', `/commit?container=${this.id}&repo=${this.tag.split(':')[0]}&tag=1&pause=false&changes=${encodeURIComponent(`LABEL berth-bench=${name}/`)}`, {});
  }

  async close(): Promise<void> { await engine('DELETE', `/containers/${this.id}?force=1&v=1`); }
}

try {
  for (const app of names) {
    const what = APPS[app];
    if (!what) throw new Error(`no app ${app}: ${Object.keys(APPS).join(', ')}`);
    const files = read(join(checkout, what.folder));
    const changed = (mark: string): Record<string, Buffer> => ({ ...files, [what.file]: Buffer.concat([files[what.file]!, Buffer.from(what.comment(mark))]) });
    const steps = async (deploy: number): Promise<Record<string, number>> => Object.fromEntries((await berth.json<{ steps: { step: string; startedAt: number; endedAt: number }[] }>(['deploys:show', app, String(deploy)])).steps.map((row) => [row.step, row.endedAt - row.startedAt]));
    const dir = await berth.repo(changed('0'));
    const first = await timed(() => berth.push(dir, app));
    if (first.value.code !== 0) throw new Error(first.value.output);
    const cold = await steps(1);
    const kept = await Kept.open(app, planOf(), changed('0'));
    const times = { hand: [] as number[], build: [] as number[], all: [] as number[] };
    try {
      const coldHand = await timed(() => kept.rebuild(changed('0')));
      for (let run = 1; run <= RUNS; run += 1) {
        times.hand.push((await timed(() => kept.rebuild(changed(`hand ${run}`)))).ms);
        await berth.commit(dir, { [what.file]: changed(`push ${run}`)[what.file]! });
        const pushed = await berth.push(dir, app);
        if (pushed.code !== 0) throw new Error(pushed.output);
        const took = await steps(run + 1);
        times.build.push(took['build']!);
        times.all.push(took['clone']! + took['detect']! + took['build']!);
      }
      const table = new Table(`${app}, ${RUNS} runs interleaved`);
      table.add('by hand in a kept container: files, commands, commit', times.hand, times.hand);
      const { p50, min } = table.add('build step', times.build, times.hand);
      const all = table.add('clone, detect and build', times.all, times.hand);
      table.print();
      console.log(`cold: build step ${(cold['build']! / 1000).toFixed(1)} s, by hand ${(coldHand.ms / 1000).toFixed(1)} s; warm build step ${p50.toFixed(0)} ms (min ${min.toFixed(0)}): ${(cold['build']! / p50).toFixed(0)} times as fast as cold`);
      const hand = times.hand.toSorted((a, b) => a - b)[Math.floor(times.hand.length / 2)]!;
      verdict(`${app}: rebuild (clone, detect, build) against by hand (1.2 × ${hand.toFixed(0)})`, all.p50, 1.2 * hand, 'ms');
    } finally {
      await kept.close();
    }
  }
  console.log(machine());
} finally {
  await berth.stop();
  await removeImages(`${name}/`);
}
