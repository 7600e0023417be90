import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stackImages } from '../../src/drivers/stack/stack.js';
import { type Fixture, type Outcome, run, startBerth } from '../lib/berth-fixture.js';
import { zipOf } from '../lib/zip.js';
import { type AppFiles, deploysOf } from './berth.kit.js';

/**
 * Apps on the stack, on a server without a network: the private engine's namespace leads nowhere. The stack's images are brought as an
 * administrator would bring them; then the stack becomes another one under the running apps.
 */
let berth: Fixture;
const { base: baseImage, run: runImage, build: buildImage } = stackImages();
const dirs = new Map<string, string>();

const docker = async (args: readonly string[], stdin?: string): Promise<string> => {
  const { code, out, err } = await run('docker', ['-H', `unix://${berth.ownEngine!.socket}`, ...args], { stdin, timeoutMs: 300_000 });
  if (code !== 0) throw new Error(`docker ${args[0]}: ${err}`);
  return out;
};

/** The stack images of this machine into the private engine. */
async function bring(): Promise<void> {
  const save = spawn('docker', ['save', baseImage, runImage, buildImage], { stdio: ['ignore', 'pipe', 'inherit'] });
  const load = spawn('docker', ['-H', `unix://${berth.ownEngine!.socket}`, 'load'], { stdio: [save.stdout, 'ignore', 'inherit'] });
  const code = await new Promise((done) => load.on('close', done));
  if (code !== 0) throw new Error(`docker load ended with ${String(code)}`);
}

/** What `berth stack:build` does when the distribution has newer packages: the same names, other content, another version. */
async function newStack(mark: string): Promise<void> {
  for (const image of [runImage, buildImage]) await docker(['build', '-q', '-t', image, '-'], `FROM ${image}\nRUN echo ${mark} > /etc/mark\nLABEL berth.stack.version=${mark}\n`);
}

const WHEEL = zipOf([
  { name: 'hello.py', data: 'TEXT = "hello from a wheel"\n' },
  { name: 'hello-1.0.dist-info/METADATA', data: 'Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n' },
  { name: 'hello-1.0.dist-info/WHEEL', data: 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n' },
  { name: 'hello-1.0.dist-info/RECORD', data: 'hello.py,,\nhello-1.0.dist-info/METADATA,,\nhello-1.0.dist-info/WHEEL,,\nhello-1.0.dist-info/RECORD,,\n' },
]);
/** Python with a dependency that lies in the repository. @param picky ends at once on a stack with this mark */
const python = (picky = 'none'): AppFiles => ({
  'requirements.txt': '--no-index\n--find-links vendor\nhello==1.0\n',
  'vendor/hello-1.0-py3-none-any.whl': WHEEL,
  Procfile: 'web: python app.py\n',
  'app.py': `import os, pathlib, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import hello
mark = pathlib.Path("/etc/mark").read_text().strip() if os.path.exists("/etc/mark") else "first"
if mark == "${picky}": sys.exit("I do not run on " + mark)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = (hello.TEXT + " on " + mark).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *args): pass
ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
`,
  'app.json': JSON.stringify({ healthchecks: { web: [{ path: '/', timeout: 5, attempts: 2, wait: 1 }] } }),
});

const page = async (app: string): Promise<string> => (await berth.http(app)).body;
interface Standing { app: string; behind: boolean; images: { image: string; built: string; now: string }[] }
const behind = async (): Promise<string[]> => (await berth.json<Standing[]>(['stack:report'])).filter((one) => one.behind).map(({ app }) => app);
const upgrade = (args: readonly string[], onOutput?: (text: string) => void): Promise<Outcome> => berth.cli(['stack:upgrade', '--no-build', ...args], { timeoutMs: 280_000, ...(onOutput && { onOutput }) });

/** Asks apps all the time. Answers what was not answered with 200. */
function traffic(apps: readonly string[]): () => Promise<string[]> {
  const bad: string[] = [];
  let going = true;
  const asking = Promise.all(apps.map(async (app) => {
    while (going) {
      const answer = await berth.http(app).then(({ status }) => String(status), (error: Error) => error.message);
      if (answer !== '200') bad.push(`${app}: ${answer}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  }));
  return async () => { going = false; await asking; return bad; };
}

beforeAll(async () => {
  berth = await startBerth({ engine: { liveRestore: true } });
  await bring();
});
afterAll(async () => { await berth.stop(); });

describe('a server without a network', () => {
  it('takes images that were brought for its own; what is missing is said at once', async () => {
    const there = await berth.cli(['stack:build']);
    expect(there.code, there.err).toBe(0);
    expect(there.out).toContain('is there');
    for (const words of [['go'], ['--force']]) {
      const missing = await berth.cli(['stack:build', ...words], { timeoutMs: 60_000 });
      expect(missing.code).toBe(1);
      expect(missing.err).toMatch(/cannot be reached[^]*docker save/);
    }
    expect((await berth.json<{ state: string }[]>(['stack'])).map(({ state }) => state).slice(0, 3)).toEqual(['ready', 'ready', 'ready']);
  });
});

describe('a stack under running apps', () => {
  it('builds without any network, and says what each app stands on', async () => {
    for (const [app, files] of [['alpha', python()], ['picky', python('second')], ['zeta', python()]] as const) {
      dirs.set(app, await berth.repo(files));
      const { code, output } = await berth.push(dirs.get(app)!, app);
      expect(code, output).toBe(0);
      expect(await page(app)).toBe('hello from a wheel on first');
    }
    const report = await berth.json<Standing[]>(['stack:report']);
    expect(report.map(({ app, behind: late }) => [app, late])).toEqual([['alpha', false], ['picky', false], ['zeta', false]]);
    expect(report[0]!.images.map(({ image, built, now }) => [image, built === now])).toEqual([[buildImage, true], [runImage, true]]);
    expect((await upgrade(['--all'])).out).toMatch(/alpha: stands on it already[\s\S]*zeta: stands on it already/);
    expect((await deploysOf(berth, 'alpha')).length).toBe(1);
  });

  it('upgrade: an API that dies leaves it resumable; one that fails serves on; the others go on; the summary names it', async () => {
    await newStack('second');
    expect(await behind()).toEqual(['alpha', 'picky', 'zeta']);
    expect((await berth.cli(['doctor'])).out).toMatch(/behind: alpha, picky, zeta/);
    const stop = traffic(['alpha', 'picky', 'zeta']);
    let killed = false;
    const cut = await upgrade(['--all'], (text) => { if (!killed && text.includes('alpha: deploy 2 begins')) { killed = true; berth.kill('api'); } });
    expect(killed, cut.out + cut.err).toBe(true);
    expect(cut.code).not.toBe(0);
    await berth.until('the API', async () => (await berth.cli(['version'])).code === 0);
    const { code, out, err } = await upgrade(['--all']);
    expect(code).toBe(1);
    expect(out).toMatch(/alpha: stands on it already/);
    expect(out).toMatch(/zeta: deploy 2 is live/);
    expect(err).toMatch(/picky: deploy 2 failed: .*what served goes on serving/);
    expect(err).toMatch(/1 of 3 apps stays on the stack of before and serves on: picky/);
    expect(err).toMatch(/berth trace picky/);
    expect(await stop()).toEqual([]);
    expect([await page('alpha'), await page('picky'), await page('zeta')]).toEqual(['second', 'first', 'second'].map((mark) => `hello from a wheel on ${mark}`));
    expect(await behind()).toEqual(['picky']);
    expect((await deploysOf(berth, 'alpha')).length).toBe(2);
  });

  it('run again it does only the rest', async () => {
    await berth.commit(dirs.get('picky')!, python('third'));
    const { code, output } = await berth.push(dirs.get('picky')!, 'picky');
    expect(code, output).toBe(0);
    const again = await upgrade(['--all']);
    expect(again.code, again.err).toBe(0);
    expect(again.out.match(/stands on it already/g)).toHaveLength(3);
    expect(await behind()).toEqual([]);
    const stays = await upgrade(['nobody']);
    expect(stays.code).toBe(20);
  });
});
