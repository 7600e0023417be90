import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { choose, failure, stack, type Files } from '../../../../test/builders/kit.js';
import { buildpackFromEnv, listed } from './named.js';
import { BoundedOutput, masker } from './output.js';
import { SCRIPT } from './script.js';
import { slugDockerfile } from './slug.js';
import { slugignore } from './slugignore.js';
import { START } from './start.js';

const python: Files = { 'requirements.txt': '', Procfile: 'web: x' };
const APT = 'https://github.com/heroku/heroku-buildpack-apt';

describe('who names the buildpacks', () => {
  const all: Files = { ...python, Dockerfile: 'FROM x', '.env': 'BUILDPACK_URL=https://env/x', '.buildpacks': 'https://file/x\n', 'app.json': '{"buildpacks": [{"url": "https://json/x"}]}' };
  const settings: Files = { BUILDPACK_URL: 'https://config/x', buildpacks: 'https://set/x\nhttps://set/y' };
  it('.env, config, buildpacks:set, .buildpacks, app.json, in this order; then a Dockerfile, then ours', () => {
    const files = { ...all };
    const given = { ...settings };
    const says = (): string => choose(files, given).plan.buildpack ?? 'dockerfile';
    expect(says()).toBe('https://env/x');
    delete (files as Record<string, string>)['.env'];
    expect(says()).toBe('https://config/x');
    delete (given as Record<string, string>)['BUILDPACK_URL'];
    expect(says()).toBe('https://set/x https://set/y');
    delete (given as Record<string, string>)['buildpacks'];
    expect(says()).toBe('https://file/x');
    delete (files as Record<string, string>)['.buildpacks'];
    expect(says()).toBe('https://json/x');
    delete (files as Record<string, string>)['app.json'];
    expect(says()).toBe('dockerfile');
    delete (files as Record<string, string>)['Dockerfile'];
    expect(says()).toBe('python');
  });
  it('is told, and so is what is named in vain', () => {
    const { asked, warnings, reason } = choose(all, settings);
    expect(asked).toEqual([{ builder: 'BUILDPACK_URL in .env', answer: 'https://env/x' }]);
    expect(reason).toBe('named by BUILDPACK_URL in .env');
    expect(warnings).toEqual(['BUILDPACK_URL', 'buildpacks:set', '.buildpacks', 'app.json'].map((who) => `the buildpacks of ${who} are not used: BUILDPACK_URL in .env decides`).concat('the Dockerfile is not used: BUILDPACK_URL in .env decides'));
    expect(choose(python).asked.slice(0, 6)).toEqual([...['BUILDPACK_URL in .env', 'BUILDPACK_URL', 'buildpacks:set', '.buildpacks', 'app.json'].map((builder) => ({ builder, answer: 'none' })), { builder: 'dockerfile', answer: 'no' }]);
  });
  it('what reads .buildpacks itself makes no .buildpacks vain', () => { expect(choose({ '.buildpacks': 'https://x/y' }, { BUILDPACK_URL: 'https://github.com/heroku/heroku-buildpack-multi.git' }).warnings).toEqual([]); });
  it('a list asks each bin/detect, a BUILDPACK_URL does not', () => {
    expect(choose(python, { BUILDPACK_URL: 'https://x/y' }).plan.classic).toEqual({ buildpacks: ['https://x/y'], ownAt: null, strict: false, stack: null, procfile: 'source' });
    expect(choose({ '.buildpacks': 'https://x/y' }, { 'buildpacks-stack': 'heroku-24' }).plan.classic).toEqual({ buildpacks: ['https://x/y'], ownAt: null, strict: true, stack: 'heroku-24', procfile: 'none' });
    expect(choose({ p: 'web: x', '.buildpacks': 'https://x/y' }, { 'procfile-path': 'p' }).plan.classic?.procfile).toBe('setting');
  });
  it('reads .env and lists', () => {
    expect(buildpackFromEnv('A=1\nexport BUILDPACK_URL="https://x/y#z" # c\n')).toBe('https://x/y#z');
    expect(buildpackFromEnv('BUILDPACK_URL=https://x/y#z\n')).toBe('https://x/y#z');
    expect(buildpackFromEnv("BUILDPACK_URL='a'\r\nBUILDPACK_URL=b")).toBe('b');
    expect(buildpackFromEnv('# BUILDPACK_URL=x\nMY_BUILDPACK_URL=y\nBUILDPACK_URL=')).toBeNull();
    expect(listed('# c\r\n a \r\n\r\nb#v1\n')).toEqual(['a', 'b#v1']);
  });
  it('refuses more than can be meant', () => { expect(failure({ '.buildpacks': Array.from({ length: 21 }, (_, i) => `https://h/${i}`).join('\n') }).code).toBe('detect.buildpacks'); });
  it('refuses what a repository may not name', () => { expect(failure({ '.env': 'BUILDPACK_URL=file:///var/lib/berth/repos/x' }).message).toContain("can't be named by a repository"); });
});

describe('lists with one of ours', () => {
  it('alone: as if it was found, but asked for by name', () => {
    const { plan, reason } = choose(python, { buildpacks: 'heroku/python' });
    expect(plan).toMatchObject({ builder: 'buildpack', buildpack: 'python' });
    expect(plan.classic).toBeUndefined();
    expect(reason).toBe('named by buildpacks:set; requirements.txt is there');
    expect(failure({ Procfile: 'web: x' }, { buildpacks: 'python' })).toMatchObject({ code: 'detect.buildpack', message: expect.stringContaining('looks for requirements.txt') });
  });
  it('with others: they run first, ours makes the image, which reads what they left in .profile.d', () => {
    const { plan, title } = choose({ ...python, '.buildpacks': 'heroku-community/apt\nheroku/python\nhttps://h/last' });
    expect(title).toBe('Python app');
    expect(plan).toMatchObject({ builder: 'buildpack', buildpack: 'python', classic: { buildpacks: [APT, 'https://h/last'], ownAt: 1, strict: true } });
    expect(plan.dockerfile).toContain('ENTRYPOINT ["/bin/bash", "/usr/local/bin/berth-start"]');
  });
  it('.profile of an app of ours is read, too', () => {
    expect(choose({ ...python, '.profile.d/a.sh': '' }).plan.dockerfile).toContain('berth-start');
    expect(choose({ ...python, '.profile.d/a.txt': '', 'x/.profile': '' }).plan.dockerfile).not.toContain('berth-start');
  });
});

describe('.slugignore', () => {
  it('takes files out before a buildpack looks', () => {
    expect(choose({ ...python, '.slugignore': 'requirements.txt\n' }).plan.buildpack).toBe('procfile');
    expect(choose({ ...python, Dockerfile: 'FROM x', '.slugignore': 'Dockerfile\n' }).plan.builder).toBe('dockerfile');
  });
  it('has the patterns of .gitignore, without !', () => {
    const out = slugignore('# c\n*.psd\n/doc/\n!keep.psd\nspec\n')!;
    expect(['a.psd', 'x/y.psd', 'keep.psd', 'doc/a', 'spec/a/b', 'x/spec/y'].filter((path) => !out(path))).toEqual([]);
    expect(['a', 'x/doc/a', 'specs/a', '', './', '../x'].filter(out)).toEqual([]);
    for (const text of ['', '# x\n', '!a\n', undefined, null]) expect(slugignore(text)).toBeNull();
  });
  it('can\'t keep a worker busy', () => {
    expect(() => slugignore(`${'a*'.repeat(30)}b`)).toThrow('too many stars');
    expect(() => slugignore('a\n'.repeat(2000))).toThrow('1000');
    const slow = slugignore('*a*a*ab\n')!;
    expect(slow('a'.repeat(255))).toBe(false);
  });
});

describe('what runs in the container', () => {
  it('can be read by bash', () => { for (const text of [SCRIPT, START]) expect(spawnSync('bash', ['-n'], { input: text }).stderr.toString()).toBe(''); });
  it('makes the image from the slug', () => { expect(slugDockerfile(stack, 'run "it" --port $PORT')).toMatchInlineSnapshot(`
    "# Generated by Berth for third-party buildpacks
    FROM stack-run
    ENV HOME=/app
    WORKDIR /app
    COPY --chown=1000:1000 build /app
    USER 1000:1000
    COPY start /usr/local/bin/berth-start
    ENTRYPOINT ["/bin/bash", "/usr/local/bin/berth-start"]
    CMD ["run \\"it\\" --port $PORT"]
    "
  `); });
  it('hides config values in its output, long ones first, and leaves short words alone', () => {
    const mask = masker(['secret-value', 'secret-value-longer', 'on', 'line one of two\nline two of two']);
    expect(mask('a secret-value-longer b secret-value on line two of two')).toBe('a *** b *** on ***');
  });
  it('keeps the beginning and the end of endless output', () => {
    const lines: string[] = [];
    const output = new BoundedOutput((line) => lines.push(line), (line) => line, 1024);
    for (let i = 0; i < 10_000; i++) output.push(i === 5 ? 'x'.repeat(20_000) : `line ${i}`);
    output.push('');
    output.close();
    expect(lines.slice(0, 5)).toEqual(['line 0', 'line 1', 'line 2', 'line 3', 'line 4']);
    expect(lines[5]).toHaveLength(8193);
    expect(lines[6]).toMatch(/^… 9945 lines \(1 MB\) are left out here/);
    expect(lines.slice(-2)).toEqual(['line 9999', '']);
    expect(lines).toHaveLength(57);
    expect(output.last).toBe('line 9999');
  });
});
