import { cpSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { Poller, deployOf, remote } from './berth.kit.js';

/** The sample of the README: a real Django project, pushed as it is. */
let berth: Fixture;
let dir: string;

beforeAll(async () => {
  berth = await startBerth();
  dir = mkdtempSync(join(berth.root, 'work/blog-'));
  cpSync(join(import.meta.dirname, '../../deploy/samples/blog'), dir, { recursive: true });
  await berth.git(dir, 'init', '-q', '-b', 'main');
  await berth.commit(dir, {}, 'The sample');
});
afterAll(async () => {
  await berth.stop();
  expect(await berth.owned()).toEqual({ containers: [], networks: [], volumes: [], images: [] });
});

const page = async (path = '/'): Promise<string> => {
  const { status, body } = await berth.http('blog', path);
  expect(status, `${path}: ${body.slice(0, 500)}`).toBe(200);
  return body;
};

describe('the Django sample', () => {
  it('goes live with one push: packages, static files, migrations, health check', async () => {
    const { code, output } = await berth.push(dir, 'blog');
    expect(code, output).toBe(0);
    const lines = remote(output).join('\n');
    expect(lines).toMatch(/-----> Python app detected[\s\S]*-----> Building blog[\s\S]*collectstatic[\s\S]*-----> Releasing blog v1[\s\S]*Running the release command: python manage\.py migrate[\s\S]*web\.1 is up: GET \/healthz answered 200[\s\S]*=====> Application deployed: blog v1/);
    const html = await page();
    expect(html).toContain('Notes from the berth');
    const css = /href="(\/static\/[^"]+\.css)"/.exec(html)![1]!;
    expect(css).toMatch(/\.[0-9a-f]{12}\.css$/); // collectstatic hashed it
    expect((await page(css)).length).toBeGreaterThan(200);
    expect(await page('/admin/login/')).toContain('csrfmiddlewaretoken');
    const { plan } = { plan: await berth.json<{ steps: { step: string; output: { dockerfile?: string } }[] }>(['trace', 'blog']) };
    expect(plan.steps.find((step) => step.step === 'detect')!.output.dockerfile).toMatch(/^[\s\S]*FROM berth\/stack-build:[\s\S]*FROM berth\/stack-run:/);
  });

  it('changes one line without installing packages again and without a failed request', async () => {
    const file = join('blog', 'templates/blog/base.html');
    await berth.commit(dir, { [file]: readFileSync(join(dir, file), 'utf8').replace('A sample for Berth', 'Changed for Berth') });
    const poller = new Poller(berth, 'blog', true, '/healthz');
    const { code, output } = await berth.push(dir, 'blog');
    expect(code, output).toBe(0);
    expect(await page()).toContain('Changed for Berth');
    await poller.stop();
    expect(poller.failures).toEqual([]);
    expect(output).not.toMatch(/Collecting|Downloading/);
    expect((await deployOf(berth, 'blog', 2)).steps.map((step) => `${step.step} ${step.status}`)).toEqual(['clone', 'detect', 'build', 'release', 'route'].map((step) => `${step} succeeded`));
  });

  it('moves to PostgreSQL with one command: created, wired, migrated, and no request fails', async () => {
    const poller = new Poller(berth, 'blog', true, '/healthz');
    const { code, out: stdout } = await berth.cli(['postgresql:create', 'blog'], { timeoutMs: 280_000 });
    await poller.stop();
    expect(code, stdout).toBe(0);
    expect(stdout).toMatch(/Creating PostgreSQL service blog[\s\S]*Running the release command: python manage\.py migrate[\s\S]*Applying blog\.0002_first_posts[\s\S]*Application deployed: blog v3[\s\S]*DATABASE_URL/);
    expect(poller.failures).toEqual([]);
    expect(await page()).toContain('Changed for Berth');
    const { out: rows } = await berth.cli(['postgres:connect', 'blog', '-At'], { stdin: 'select count(*) from blog_post' });
    expect(Number(rows)).toBeGreaterThan(0);
  });

  it('refuses a migration that cannot be: the release before serves on', async () => {
    await berth.commit(dir, { 'blog/migrations/0003_wrong.py': 'raise RuntimeError("no way forward")\n' });
    const { code, output } = await berth.push(dir, 'blog');
    expect(code).not.toBe(0);
    expect(output).toContain('RuntimeError: no way forward');
    expect(output).toContain('v3 goes on serving');
    expect(await page()).toContain('Changed for Berth');
  });
});
