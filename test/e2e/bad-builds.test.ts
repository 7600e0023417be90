import { existsSync, readFileSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stackImages } from '../../src/drivers/stack/stack.js';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { type AppFiles, type AppWishes, baseImage, deploysOf, left, refOf } from './berth.kit.js';
import { random } from './engine.kit.js';

/** Builds that go wrong in ways that no app should: a clear message, not zero, and nothing half done. */
let berth: Fixture;
let app: (wishes?: AppWishes) => AppFiles;
beforeAll(async () => {
  berth = await startBerth({ env: { BERTH_BUILD_TIMEOUT: '10' } });
  app = await baseImage(berth);
});
afterAll(async () => { await berth?.stop(); });

/** The push is refused; afterwards there is no container, no branch and no process of it. */
async function refused(name: string, dir: string, code: string): Promise<string> {
  const pushed = await berth.push(dir, name);
  expect(pushed.code, pushed.output).not.toBe(0);
  const deploys = await deploysOf(berth, name);
  expect(deploys[0], pushed.output).toMatchObject({ status: 'failed', failure: { code } });
  expect(await refOf(berth, name)).toBe('');
  expect((await left(berth)).containers).toEqual([]);
  return pushed.output;
}
const running = (mark: string): boolean => readdirSync('/proc').some((pid) => { try { return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(mark); } catch { return false; } });

describe('a Dockerfile whose RUN', () => {
  const dockerfile = (line: string): AppFiles => app({ dockerfile: `FROM BASE\nCOPY version /version\nRUN ${line}\n` });

  it('is ended by a signal says which step and how', async () => {
    const output = await refused('signal', await berth.repo(dockerfile(`echo ${random()}; sleep 100 & kill -9 $!; wait $!`)), 'build.failed');
    expect(output).toMatch(/the build failed in step 3\/3: RUN echo .*: exit code 137/);
  });

  it('never ends is ended, and so is what it started', async () => {
    const mark = `8${Math.floor(Math.random() * 1e6)}`;
    const output = await refused('endless', await berth.repo(dockerfile(`sleep ${mark} & sleep ${mark}`)), 'build.timeout');
    expect(output).toMatch(/the build took longer than 10 seconds; it was in step 3\/3[^]*BERTH_BUILD_TIMEOUT/);
    await berth.until('its processes to end', async () => !running(mark));
  });

  it('prints 100 MB and fails: its last words are told, and neither the push nor the log has all of it', async () => {
    const output = await refused('loud', await berth.repo(dockerfile(`echo ${random()}; yes "noise noise noise noise noise noise" | head -c 100000000; echo the-last-words; exit 5`)), 'build.failed');
    expect(output).toMatch(/exit code 5/);
    expect(output.length).toBeLessThan(1_000_000);
    const { id } = await berth.json<{ id: string }>(['apps:info', 'loud']);
    const log = join(berth.root, 'logs/deploys', id);
    const size = readdirSync(log, { recursive: true, withFileTypes: true }).filter((file) => file.isFile()).reduce((sum, file) => sum + readFileSync(join(file.parentPath, file.name)).length, 0);
    expect(size).toBeLessThan(20_000_000);
  });
});

describe('links out of the tree', () => {
  /** A commit in which these names lead out. */
  async function linked(files: AppFiles, links: Readonly<Record<string, string>>): Promise<string> {
    const dir = await berth.repo(files);
    for (const [name, to] of Object.entries(links)) symlinkSync(to, join(dir, name));
    await berth.commit(dir, {});
    return dir;
  }
  const secret = readFileSync('/etc/passwd', 'utf8').split('\n')[0]!;
  const out = (depth: number): string => `${'../'.repeat(depth)}etc/passwd`;

  it.each([
    ['Dockerfile', { Dockerfile: '/etc/passwd' }, /^(?:build|detect)\.dockerfile$/],
    ['Procfile', { Procfile: out(12) }, /^detect\.|^build\./],
    ['requirements.txt', { 'requirements.txt': '/etc/passwd' }, /^detect\.|^build\./],
    ['app.json', { 'app.json': '/etc/passwd' }, /^detect\./],
  ])('%s: no file of the server is read', async (name, links, code) => {
    const app_ = `out-${name.toLowerCase().replaceAll('.', '-')}`;
    const dir = await linked({ 'a.txt': 'a', ...(name === 'requirements.txt' ? { Procfile: 'web: python3 -m http.server $PORT\n' } : {}) }, links);
    const pushed = await berth.push(dir, app_);
    expect(pushed.code, pushed.output).not.toBe(0);
    expect((await deploysOf(berth, app_))[0]!.failure!.code).toMatch(code);
    expect(pushed.output).not.toContain(secret);
    expect(await refOf(berth, app_)).toBe('');
  });

  it('lead into the image, where they are copied', async () => {
    const Dockerfile = `FROM ${stackImages().run}\nCOPY . /x\nRUN echo "link: $(readlink /x/link) up: $(readlink /x/up)" > /x/links; cat /x/link > /x/here\nCMD ["python3", "-m", "http.server", "5000", "-d", "/x"]\n`;
    const dir = await linked({ Dockerfile }, { link: '/etc/hosts', up: out(8) });
    expect((await berth.push(dir, 'led')).code).toBe(0);
    expect((await berth.http('led', '/links')).body).toBe(`link: /etc/hosts up: ${out(8)}\n`);
    expect((await berth.http('led', '/here')).body).not.toBe(readFileSync('/etc/hosts', 'utf8'));
    expect((await berth.cli(['apps:destroy', 'led', '--confirm', 'led'])).code).toBe(0);
  });
});

it('a submodule that wants credentials which nobody gave is named, with what to do', async () => {
  const dir = await berth.repo(app());
  await berth.commit(dir, { '.gitmodules': `[submodule "lib"]\n\tpath = lib\n\turl = ${berth.url('upstream')}\n` });
  await berth.git(dir, 'update-index', '--add', '--cacheinfo', `160000,${'e'.repeat(40)},lib`);
  await berth.git(dir, 'commit', '-q', '-m', 'a submodule');
  const pushed = await berth.push(dir, 'subbed');
  expect(pushed.code).not.toBe(0);
  const [deploy] = await deploysOf(berth, 'subbed');
  expect(deploy!.steps.at(-1)).toMatchObject({ step: 'clone', status: 'failed' });
  expect(pushed.output).toMatch(/the submodule "lib" \(ssh:.*\) could not be fetched: .*Permission denied/);
  expect(pushed.output).toMatch(/git:public-key|git:auth/);
  expect(readdirSync(join(berth.root, 'sources'))).not.toContain(`${deploy!.steps.at(-1)!.job}`);
  expect(existsSync(join(berth.root, 'git', 'netrc'))).toBe(false);
});
