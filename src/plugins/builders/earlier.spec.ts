import { describe, expect, it } from 'vitest';
import { withStart } from './classic/start.js';
import { choose, failure, type Files } from '../../../test/builders/kit.js';

const node: Files = { 'package.json': '{"scripts": {"build": "x"}, "dependencies": {"a": "1"}, "devDependencies": {"b": "1"}}', 'package-lock.json': '{}' };
const python: Files = { 'requirements.txt': 'flask' };
const procfile: Files = { Procfile: 'web: run\n' };
const named = (...names: string[]): Files => ({ buildpacks: names.join('\n') });
const text = (files: Files, ...names: string[]): string => choose(files, named(...names)).plan.dockerfile!;
const lastStage = (dockerfile: string): string[] => dockerfile.split('\n').slice(dockerfile.split('\n').findLastIndex((line) => line.startsWith('FROM ')));

describe('several of our own buildpacks in one list', () => {
  it('make one Dockerfile: each builds on what the one before it left', () => { expect(text({ ...node, ...python, ...procfile }, 'heroku/nodejs', 'heroku/python')).toMatchSnapshot(); });
  it('are told in the plan, all of them', () => {
    const { plan, title, reason, details } = choose({ ...node, ...python, ...procfile }, named('heroku/nodejs', 'heroku/python'));
    expect(plan).toMatchObject({ builder: 'buildpack', buildpack: 'node, python', summary: 'Node.js 24.x, package-lock.json; Python 3.13, requirements.txt', processTypes: { web: 'run' } });
    expect(plan.classic).toBeUndefined();
    expect(title).toBe('Python app');
    expect(reason).toBe('named by buildpacks:set; package.json is there; requirements.txt is there');
    expect(details).toEqual(['buildpacks node, python', expect.stringContaining('Node.js 24.x'), 'packages: package-lock.json (npm)', 'build: npm run build', expect.stringContaining('Python 3.13'), 'packages: requirements.txt', 'Procfile: web']);
    expect(Object.keys(plan.files!)).toEqual(['.berth/node-fetch.py', '.berth/manifests/package.json', '.berth/node-profile.sh']);
  });
  it('the last one says how the app is started', () => {
    const files = { ...node, 'go.mod': 'module x/shop\n', 'main.go': 'package main' };
    expect(choose(files, named('node', 'go')).plan.processTypes).toEqual({ web: 'shop' });
    const started = { ...files, 'package.json': '{"scripts": {"start": "x"}, "dependencies": {"a": "1"}}' };
    expect(choose(started, named('go', 'node')).plan.processTypes).toEqual({ web: 'npm start' });
    expect(failure(files, named('go', 'node'))).toMatchObject({ code: 'detect.no-process', hint: expect.stringContaining('go could be the last') });
  });
  it('a Procfile says it before them, and what an early one reads in it is its own', () => {
    const files = { ...node, 'public/index.php': '', Procfile: 'web: vendor/bin/heroku-php-apache2 public/\nworker: node w.js\nrelease: r' };
    expect(choose(files, named('php', 'node')).plan).toMatchObject({ processTypes: { web: '/bin/bash /usr/local/lib/berth/php/serve', worker: 'node w.js' }, releaseCommand: 'r' });
  });
  it('programs of the early ones are there while the later build, and in the image', () => {
    const php = text({ ...node, ...procfile, 'index.php': '' }, 'node', 'php');
    expect(php).toContain('FROM stack-build-php AS build\nENV PATH=/app/node_modules/.bin:/opt/node/bin:$PATH');
    expect(lastStage(php).slice(0, 5)).toEqual(['FROM stack-run-php', expect.stringContaining('PATH=/app/vendor/bin:/app/node_modules/.bin:/opt/node/bin:/usr'), 'WORKDIR /app', 'COPY --from=node-node /opt/node/bin /opt/node/bin', 'COPY --from=node-node /opt/node/lib /opt/node/lib']);
    const reverse = text({ ...node, ...procfile, 'index.php': '' }, 'php', 'node');
    expect(reverse).toContain('FROM stack-build-php AS node');
    expect(lastStage(reverse)[0]).toBe('FROM stack-run-php');
  });
  it('the build script runs once', () => {
    for (const names of [['node', 'php'], ['php', 'node']]) expect(text({ ...node, ...procfile, 'index.php': '' }, ...names).match(/npm run build/g)).toHaveLength(1);
    const rails = { ...node, Gemfile: '', 'Gemfile.lock': 'GEM\n  specs:\n    railties (8.0.0)\n    propshaft (1.0.0)\n', Rakefile: '' };
    const ruby = text(rails, 'node', 'ruby');
    expect(ruby.match(/npm run build/g)).toHaveLength(1);
    expect(ruby).toContain('COPY --from=node-build /out/ ./\nRUN --mount=type=cache,id=a1-assets');
  });
  it('what collectstatic made is there for the next', () => {
    const django = { ...node, ...python, ...procfile, 'manage.py': 'import django' };
    expect(text(django, 'python', 'node')).toContain('COPY --from=python-app /app/ ./');
  });
  it('three of them', () => {
    const dockerfile = text({ ...node, ...python, ...procfile, 'go.mod': 'module x/shop' }, 'node', 'python', 'go');
    expect(lastStage(dockerfile)).toEqual(expect.arrayContaining(['COPY --from=node-node /opt/node/bin /opt/node/bin', 'COPY --from=python-build /opt/venv /opt/venv', 'COPY --from=node-build --chown=1000:1000 /out/ /app/']));
    const names = [...dockerfile.matchAll(/^FROM \S+ AS (\S+)$/gm)].map((match) => match[1]);
    expect(new Set(names).size).toBe(names.length);
  });
  it('with others: those run first, then ours in their order', () => {
    const { plan } = choose({ ...node, ...python, ...procfile, '.buildpacks': 'heroku-community/apt\nheroku/nodejs\nhttps://h/between\nheroku/python\nhttps://h/last' });
    expect(plan).toMatchObject({ buildpack: 'node, python', classic: { buildpacks: ['https://github.com/heroku/heroku-buildpack-apt', 'https://h/between', 'https://h/last'], ownAt: 2 } });
  });
  it('with others and no Procfile: those may say how it is started, once they have run', () => {
    const { plan, details } = choose({ ...node, ...python, '.buildpacks': 'heroku-community/multi-procfile\nnode\npython' });
    expect(plan).toMatchObject({ processTypes: {}, releaseCommand: null, classic: { procfile: 'none', ownAt: 1 } });
    expect(plan.dockerfile).toBe(withStart(choose({ ...node, ...python, ...procfile }, named('node', 'python')).plan.dockerfile!));
    expect(details.slice(0, 2)).toEqual(['buildpacks node, python'].map((line) => line.replace('node', 'https://github.com/heroku/heroku-buildpack-multi-procfile, node')).concat('first, in a container: https://github.com/heroku/heroku-buildpack-multi-procfile; what they leave is the source of node, python, and their process types are added'));
    expect(details.at(-1)).toBe('no Procfile: the other buildpacks must say how it is started');
    expect(failure({ 'app/requirements.txt': '', '.buildpacks': 'https://h/subdir\npython' })).toMatchObject({ code: 'detect.buildpack', hint: expect.stringContaining('build-dir') });
  });
  it('a built site with the static buildpack is the Node.js one\'s own work', () => {
    const files = { ...node, 'static.json': '{"root": "dist"}' };
    expect(choose(files, named('heroku/nodejs', 'static')).plan).toEqual(choose(files, named('node')).plan);
    expect(failure({ ...node, 'package.json': '{"scripts": {"start": "x"}}', 'index.html': '' }, named('node', 'static'))).toMatchObject({ code: 'detect.buildpacks', hint: expect.stringContaining('static') });
  });
  it('refuses what can\'t be put together', () => {
    const ruby = { Gemfile: '', 'Gemfile.lock': '', 'index.php': '', 'mix.exs': 'app: :x', ...python, ...procfile };
    expect(failure(ruby, named('python', 'heroku/python'))).toMatchObject({ code: 'detect.buildpacks', message: 'buildpacks:set names python twice' });
    expect(failure(ruby, named('ruby', 'php'))).toMatchObject({ code: 'detect.buildpacks', message: expect.stringContaining('different images') });
    expect(failure(ruby, named('elixir', 'python'))).toMatchObject({ code: 'detect.buildpacks', message: expect.stringContaining('only be the last') });
    expect(failure(python, named('node', 'python'))).toMatchObject({ code: 'detect.buildpack', message: expect.stringContaining('looks for package.json') });
  });
  it('is pointed at where a build script would be left out', () => {
    expect(choose({ ...node, ...python, ...procfile }).details.at(-1)).toBe('package.json has a build script, which nothing runs: buildpacks:set --replace <app> node python has Node.js run it first');
    expect(choose({ ...python, ...procfile, 'package.json': '{{' }).details.at(-1)).toBe('Procfile: web');
    expect(choose({ ...node, ...procfile, 'index.php': '' }).details.join()).not.toContain('nothing runs');
  });
});
