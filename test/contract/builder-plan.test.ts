import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const berth = (...args: string[]): Promise<{ code: number; out: string; err: string }> => new Promise((resolve) => {
  execFile(process.execPath, [join(root, 'dist/cli.cjs'), ...args], { cwd: root, env: { PATH: process.env['PATH'], BERTH_RUN: '/nonexistent' } }, (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code), out, err }));
});

describe('builder:plan --dir, where no Berth runs', () => {
  it('shows the plan of a folder, as words and as data', async () => {
    const { code, out } = await berth('builder:plan', '--dir', 'test/builders/apps/go-http');
    expect([code, out]).toEqual([0, expect.stringContaining('-----> Go app (Go 1.24, go.mod): go.mod is there')]);
    expect(out).toContain('FROM berth/stack-build-go:');
    expect(out).toContain('asked python: no');
    const { plan } = JSON.parse((await berth('builder:plan', '--dir', 'test/builders/apps/python-flask', '--format', 'json')).out) as { plan: object };
    expect(plan).toMatchObject({ builder: 'buildpack', buildpack: 'python', processTypes: { web: 'gunicorn app:app --bind 0.0.0.0:$PORT' } });
  });
  it('shows a list of buildpacks as it will be built', async () => {
    const { out } = await berth('builder:plan', '--dir', 'test/builders/apps/list-node-python');
    expect(out).toContain('-----> Python app (Node.js 24.x, package-lock.json; Python 3.13, requirements.txt): named by app.json; package.json is there; requirements.txt is there');
    expect(out).toMatch(/asked app\.json: node, python\n[^]*FROM \S+ AS node-app\n[^]*FROM \S+ AS build\n[^]*COPY --from=node-build/);
  });
  it.each([
    [['--dir', 'test/builders/apps/java-no-such-version'], 'asks for Java 11'],
    [['--dir', 'docs'], 'no buildpack fits'],
    [['--dir', 'nowhere'], 'There is no folder nowhere'],
    [['blog', '--dir', '.'], 'Either an app or --dir'],
  ])('says what is wrong: %j', async (args, text) => {
    const { code, err } = await berth('builder:plan', ...args);
    expect(code).toBe(1);
    expect(err).toContain(text);
  });
});
