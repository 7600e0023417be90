import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { link, type ChainedEvent } from '../../src/events/chain.js';
import { createApp } from '../../src/modules/apps/apps.commands.js';
import { settle } from '../../src/modules/backup/settle.js';
import { CliDoor } from '../../src/modules/commands/door.js';
import type { Core } from '../../src/modules/core.js';
import { NO_SOURCE } from '../../src/modules/deploys/deploys.service.js';
import { outputOf } from '../histories.js';
import { bundleChild, startChild } from './event-store.harness.js';
import { openMachine } from './support/machine.js';

/** A restore that is killed, at every border between two of its effects, leaves what was there or is brought to its end by the next process. */
let dir: string;
let child: Awaited<ReturnType<typeof bundleChild>>;
const ids: Record<string, string> = {};
const shas: Record<string, string> = {};
let backedUp: ChainedEvent[];
let before: ChainedEvent[];
const mine = execKey();

function execKey(): string {
  const folder = mkdtempSync(join(tmpdir(), 'berth-restore-key-'));
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'k')]);
  const key = readFileSync(join(folder, 'k.pub'), 'utf8');
  rmSync(folder, { recursive: true });
  return key;
}
async function berth(core: Core, argv: string[], stdin = ''): Promise<void> {
  let err = '';
  const code = await new CliDoor(core, (_, error) => { throw error; }).run({
    argv, origin: 'local', actor: 'root@host', columns: 0, color: false, hasStdin: stdin !== '', signal: new AbortController().signal,
    write: (channel, text) => { if (channel === 'e') err += text; }, drained: async () => {}, read: async () => Buffer.from(stdin), answer: async () => '', pieces: async function* () {},
  });
  expect(code, err).toBe(0);
}
async function live(core: Core, name: string): Promise<void> {
  const id = await createApp({ core, actor: 'root@host' }, name);
  ids[name] = id;
  const repo = await core.git!.init(id);
  const work = mkdtempSync(join(dir, 'work-'));
  const git = (...args: string[]): string => execFileSync('git', ['-C', work, '-c', 'user.name=T', '-c', 'user.email=t@t', ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  git('init', '-q', '-b', 'main');
  writeFileSync(join(work, 'Dockerfile'), `FROM ${name}\n`);
  git('add', '-A');
  git('commit', '-q', '-m', name);
  git('push', '-q', repo, 'main');
  shas[name] = git('rev-parse', 'HEAD').trim();
  await berth(core, ['config:set', name, `SECRET=hush ${name}`]);
  await core.pipelines.handle(id, { type: 'Request', kind: 'push', by: 'key:me', source: { ...NO_SOURCE, sha: shas[name]!, branch: 'main' } }, { actor: 'key:me', command: 'git push' });
  for (let run = (await core.pipelines.state(id)).running; run; run = (await core.pipelines.state(id)).running) {
    const who = { actor: 'worker:w', command: 'step' };
    await core.pipelines.handle(id, { type: 'Claim', job: run.job, worker: 'w', waitedMs: 1 }, who);
    await core.pipelines.handle(id, { type: 'Complete', job: run.job, attempt: 1, tookMs: 5, output: outputOf(run.step, run.input, run.deploy, 1) }, who);
  }
}
const chain = (core: Core): Promise<ChainedEvent[]> => core.store.readChain(0, 100_000);

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'berth-restore-'));
  child = await bundleChild('restore.child.ts', 'restore');
  const old = await openMachine(join(dir, 'old'));
  for (const name of ['blog', 'shop']) await live(old, name);
  await berth(old, ['audit:checkpoint']);
  await berth(old, ['backup', join(dir, 'b.tar.gz')]);
  backedUp = (await chain(old)).slice(0, -1);
  await old.close();
  const template = await openMachine(join(dir, 'template'));
  await berth(template, ['ssh-keys:add', 'mine'], mine);
  await live(template, 'other');
  before = await chain(template);
  await template.close();
});
afterAll(() => {
  child.remove();
  rmSync(dir, { recursive: true, force: true });
});

let machines = 0;
async function killed(border: number): Promise<{ root: string; how: string; code: number | string }> {
  machines += 1;
  const root = join(dir, `m${machines}`);
  cpSync(join(dir, 'template'), root, { recursive: true });
  return { root, ...await run('restore', root, border) };
}
async function run(mode: 'restore' | 'settle', root: string, border: number): Promise<{ how: string; code: number | string }> {
  const { ended, lines } = startChild(child.file, mode, root, join(dir, 'b.tar.gz'), String(border));
  const code = await ended;
  return { how: lines.at(-1) ?? '', code };
}

/** Either nothing has happened, or everything has; answers which. */
async function judge(root: string): Promise<'old' | 'new'> {
  const core = await openMachine(root);
  try {
    await settle(core, { info: () => {}, detail: () => {}, warn: () => {} });
    expect(readdirSync(root).filter((name) => name.startsWith('restoring-'))).toEqual([]);
    const log = await chain(core);
    for (const [i, event] of log.entries()) expect(event.hash).toBe(link(log[i - 1]?.hash ?? '0'.repeat(64), event));
    const git = (app: string): string => execFileSync('git', ['--git-dir', join(root, 'repos', `${ids[app]}.git`), 'rev-parse', 'main'], { encoding: 'utf8' }).trim();
    if (!log.some((event) => event.type === 'RestoreBegun')) {
      expect(log).toEqual(before);
      expect(git('other')).toBe(shas['other']);
      expect(await core.env(ids['other']!)).toEqual({ SECRET: 'hush other' });
      expect(existsSync(join(root, 'keys', 'audit.key'))).toBe(false);
      return 'old';
    }
    expect(log.slice(0, backedUp.length)).toEqual(backedUp);
    const after = log.slice(backedUp.length).map((event) => event.type);
    for (const [type, count] of Object.entries({ RestoreBegun: 1, AppRestored: 2, RestoreEnded: 1, SshKeyAdded: 1, BuildRequested: 2 })) expect(after.filter((each) => each === type), type).toHaveLength(count);
    const board = await core.board.now();
    expect(board.keys.map(({ name }) => name)).toEqual(['mine']);
    for (const name of ['blog', 'shop']) {
      expect(git(name)).toBe(shas[name]);
      expect(await core.env(ids[name]!)).toEqual({ SECRET: `hush ${name}` });
      expect(board.deploys[ids[name]!]!.map(({ kind, status, by }) => `${kind} ${status} ${by}`)).toEqual(['push succeeded key:me', 'rebuild running system:restore']);
    }
    expect((await core.store.openWork()).map((row) => row.id).sort()).toEqual([`${ids['blog']}.2.clone.t0`, `${ids['shop']}.2.clone.t0`].sort());
    expect(existsSync(join(root, 'keys', 'audit.key'))).toBe(true);
    expect(await settle(core, { info: () => {}, detail: () => {}, warn: () => {} })).toBeNull();
    return 'new';
  } finally {
    await core.close();
    rmSync(root, { recursive: true, force: true });
  }
}

it('is nothing or everything, wherever it is killed', { timeout: 240_000 }, async () => {
  const whole = await killed(0);
  expect(whole.code).toBe(0);
  const { effects, exchanged } = JSON.parse(whole.how) as { effects: number; exchanged: number };
  expect(await judge(whole.root)).toBe('new');
  // every border behind the exchange; of those before it some, for there nothing has happened yet
  const early = [1, 2, Math.floor(exchanged / 3), Math.floor(exchanged / 2), exchanged - 1, exchanged];
  const late = Array.from({ length: effects - exchanged }, (_, i) => exchanged + 1 + i);
  const seen: string[] = [];
  for (const border of [...early, ...late]) {
    const { root, how, code } = await killed(border);
    expect([code, how]).toEqual(['SIGKILL', expect.stringMatching(/^killed before/)]);
    // the one that goes on may be killed, too
    for (const again of border % 6 === 0 ? [1 + (border % 5)] : []) await run('settle', root, again);
    const outcome = await judge(root);
    expect(outcome, `border ${border}, ${how}`).toBe(border <= exchanged ? 'old' : 'new');
    seen.push(`${border} ${how}: ${outcome}`);
  }
  console.log(seen.join('\n'));
});
