import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { HostTools } from '../../src/drivers/tool/tool.driver.js';

const folder = mkdtempSync(join(tmpdir(), 'berth-tools-'));
afterAll(() => { rmSync(folder, { recursive: true, force: true }); });
const tools = new HostTools(`${folder}:/usr/bin:/bin`);
const program = (name: string, text: string): string => { const file = join(folder, name); writeFileSync(file, `#!/bin/sh\n${text}\n`, { mode: 0o755 }); return file; };
const run = async (file: string, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}, signal = AbortSignal.timeout(30_000)): Promise<{ ended: number | string; lines: string[] }> => {
  const lines: string[] = [];
  return { ended: await tools.run(file, args, { cwd: folder, env, signal, onLine: (line) => lines.push(line) }), lines };
};

describe('programs of the host', () => {
  it('are found in the folders of the path, and only if they can be run', async () => {
    const file = program('a-tool', 'exit 0');
    writeFileSync(join(folder, 'no-tool'), 'x', { mode: 0o644 });
    expect(await tools.find('a-tool')).toBe(file);
    expect(await tools.find('no-tool')).toBeNull();
    expect(await tools.find('nothing-of-this-name')).toBeNull();
  });
  it('get their arguments as they are, and nothing of our environment', async () => {
    process.env['BERTH_SECRET_OF_OURS'] = 's3cret';
    const { ended, lines } = await run(program('shows', 'for a in "$@"; do echo "<$a>"; done; env; exit 3'), ['a b', '$(id)', "it's"], { GIVEN: 'x' });
    delete process.env['BERTH_SECRET_OF_OURS'];
    expect(ended).toBe(3);
    expect(lines).toEqual(expect.arrayContaining(['<a b>', '<$(id)>', "<it's>", 'GIVEN=x', `HOME=${folder}`]));
    expect(lines.join('\n')).not.toContain('s3cret');
  });
  it('say when a signal ended them', async () => { expect((await run(program('dies', 'kill -9 $$'))).ended).toBe('SIGKILL'); });
  it('end with all that they started when the work is taken back', async () => {
    const file = program('hangs', 'sleep 600 & echo $!; wait');
    const stop = new AbortController();
    const lines: string[] = [];
    const running = tools.run(file, [], { cwd: folder, env: {}, signal: stop.signal, onLine: (line) => { lines.push(line); stop.abort(new Error('taken back')); } });
    await expect(running).rejects.toThrow('taken back');
    const pid = Number(lines[0]);
    expect(pid).toBeGreaterThan(1);
    for (let left = 100; left > 0; left -= 1) { try { process.kill(pid, 0); } catch { return; } await sleep(50); }
    throw new Error('its child still runs');
  });
});
