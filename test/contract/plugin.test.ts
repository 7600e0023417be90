import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { PluginDriver } from '../../src/drivers/plugin/plugin.driver.js';
import type { PluginFault, PluginRun } from '../../src/drivers/plugin/plugin.port.js';

const root = new URL('../..', import.meta.url).pathname;
let dir: string;
beforeAll(() => { dir = mkdtempSync(join(tmpdir(), 'berth-plugin-')); });
afterAll(() => { rmSync(dir, { recursive: true, force: true }); });

/** `berth plugin:test`, where no server is. */
function tried(folder: string): { status: number | null; said: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'dist/cli.cjs'), 'plugin:test', folder], { encoding: 'utf8', env: { PATH: process.env['PATH'], BERTH_RUN: join(dir, 'none') } });
  return { status, said: stdout + stderr };
}

describe('plugin:test', () => {
  it.each(['deploy/samples/plugin', 'test/plugins/shell', 'test/plugins/python', 'test/plugins/typescript', 'test/plugins/depot'])('finds %s well, without a server', (plugin) => {
    expect(tried(join(root, plugin))).toEqual({ status: 0, said: expect.stringContaining('its manifest and files are well') });
  });

  it('says which case of the plugin\'s own fails, and what a manifest lacks', () => {
    const folder = join(dir, 'hello');
    cpSync(join(root, 'deploy/samples/plugin'), folder, { recursive: true });
    writeFileSync(join(folder, 'tests/wrong.json'), JSON.stringify({ call: { hook: 'before release', deploy: 8 }, expect: { add: { env: { GREETING: 'hello from deploy 7' } } } }));
    const { status, said } = tried(folder);
    expect(status).toBe(1);
    expect(said).toContain('tests/wrong.json: failed');
    expect(said).toContain('answer.add.env.GREETING is "hello from deploy 8", not "hello from deploy 7"');
    const file = join(folder, 'berth-plugin.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace('./event.sh', './evnt.sh').replace('"protocol": 1', '"protocol": 2'));
    expect(tried(folder).said).toContain('protocol is 2: this Berth speaks protocol 1');
    writeFileSync(file, readFileSync(file, 'utf8').replace('"protocol": 2', '"protocol": 1'));
    expect(tried(folder)).toEqual({ status: 1, said: expect.stringContaining('events.run[0] is "./evnt.sh", which is not in the plugin: mend the path, or commit the file') });
  });
});

describe('a plugin\'s program', () => {
  const lines: string[] = [];
  const run = (script: string, more: Partial<PluginRun> = {}): Promise<{ code: number; stdout: string }> => new PluginDriver().run({ argv: ['sh', '-c', script], code: dir, data: join(dir, 'data'), uid: null, env: {}, input: '', timeoutMs: 30_000, signal: new AbortController().signal, onLine: (line) => { lines.push(line); }, ...more });

  /** The process that a script wrote down is gone, or waits to be buried. */
  const ended = (): Promise<void> => vi.waitFor(() => {
    const stat = `/proc/${readFileSync(join(dir, 'pids'), 'utf8').trim()}/stat`;
    expect(existsSync(stat) ? readFileSync(stat, 'utf8').split(') ')[1]![0] : 'Z').toBe('Z');
  }, 10_000);

  it('is told on standard input, in an environment of its own, and answers with its exit code', async () => {
    process.env['BERTH_SECRET'] = 'x';
    expect(await run('cat; env | cut -d= -f1 | sort | tr "\\n" " "; exit 3', { input: 'told ' })).toEqual({ code: 3, stdout: expect.stringMatching(/^told BERTH_PLUGIN_RUN HOME LANG .*TMPDIR/) });
    delete process.env['BERTH_SECRET'];
  });

  it('need not read what it is told, and may write what it likes to standard error, within bounds', async () => {
    lines.length = 0;
    expect((await run('seq 2000 >&2; printf "no newline" >&2', { input: 'x'.repeat(1 << 20) })).code).toBe(0);
    expect([lines.length, lines[0], lines.at(-1)]).toEqual([1001, '1', '… more than 1000 lines']);
  });

  it('is ended with everything that it started, whatever they do about it', async () => {
    const fault = await run('trap "" TERM; (trap "" TERM; sleep 1000) & echo $! > pids; wait', { timeoutMs: 500 }).catch((error: PluginFault) => error);
    expect(fault).toMatchObject({ code: 'timeout', message: 'it did not end within 0.5 s, and was killed' });
    await ended();
  });

  it('does not keep a step waiting with what it left behind', async () => {
    const { code } = await run('sleep 1000 & echo $! > pids; exit 0');
    expect(code).toBe(0);
    await ended();
  });

  it('that is not there, or floods, is a fault with its name', async () => {
    await expect(run('', { argv: ['no-such-program'] })).rejects.toMatchObject({ code: 'start', message: 'no-such-program is not on this server' });
    await expect(run('', { argv: ['./none.sh'] })).rejects.toMatchObject({ code: 'start' });
    await expect(run('cat /dev/zero')).rejects.toMatchObject({ code: 'flood' });
    await expect(run('yes >&2')).rejects.toMatchObject({ code: 'flood' });
  });

  it('keeps no more than it may: it is killed when it does, and not asked again before there is room', async () => {
    const data = join(dir, 'full');
    const driver = new PluginDriver(1_000_000);
    const ask = (script: string): Promise<{ code: number; stdout: string }> => driver.run({ argv: ['sh', '-c', script], code: dir, data, uid: null, env: {}, input: '', timeoutMs: 30_000, signal: new AbortController().signal, onLine: () => {} });
    expect((await ask('head -c 500000 /dev/zero > "$HOME/some"; ln -s /usr "$HOME/link"')).code).toBe(0);
    await expect(ask('mkdir "$HOME/more"; for n in 1 2 3 4 5; do head -c 200000 /dev/zero > "$HOME/more/$n"; done; exec sleep 1000')).rejects.toMatchObject({ code: 'disk', message: `it keeps more than 1 MB in ${data}: make room there, or raise BERTH_PLUGIN_DISK (bytes) in berth.env; it was killed` });
    await expect(ask('true')).rejects.toMatchObject({ code: 'disk' });
    rmSync(join(data, 'more'), { recursive: true });
    expect((await ask('true')).code).toBe(0);
  });

  it('ends when nobody waits for it any more', async () => {
    const stop = new AbortController();
    const running = run('echo begun >&2; sleep 1000', { signal: stop.signal, onLine: () => stop.abort(new Error('over')) });
    await expect(running).rejects.toThrow('over');
  });

  it.runIf(process.getuid?.() === 0)('runs as its own user, who can write in its own folder only', async () => {
    const { stdout } = await run(`id -u; echo mine > "$HOME/file"; echo x > ${dir}/theirs; true`, { uid: 60_600, code: '/', data: join(tmpdir(), 'berth-plugin-data', 'hello') });
    expect(stdout).toBe('60600\n');
    expect(readdirSync(dir)).not.toContain('theirs');
    rmSync(join(tmpdir(), 'berth-plugin-data'), { recursive: true });
  });
});
