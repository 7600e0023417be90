import { describe, expect, it } from 'vitest';
import { choose, failure, type Files } from '../../../../test/builders/kit.js';

const dockerfile = (files: Files, settings: Files = {}): string => choose(files, settings).plan.dockerfile!;
const page = '<h1>x</h1>';
const node = (scripts: Files, files: Files = {}): Files => ({ 'package.json': JSON.stringify({ scripts, devDependencies: { vite: '6' } }), 'package-lock.json': '{}', ...files });

describe('static buildpack', () => {
  it('the generated Dockerfile for all files', () => { expect(dockerfile({ 'index.html': page, 'static.json': '{"root":"."}' })).toMatchSnapshot(); });
  it('the generated Dockerfile for a folder', () => { expect(dockerfile({ 'public/index.html': page, 'README.md': '' }, { 'static-spa': 'on' })).toMatchSnapshot(); });
  it('the generated Dockerfile for a site that Node builds', () => { expect(dockerfile(node({ build: 'vite build' }, { 'index.html': page }))).toMatchSnapshot(); });

  it('where the site is: a setting, static.json, index.html', () => {
    const where = (files: Files, settings: Files = {}): string | undefined => choose(files, settings).details[0];
    expect(where({ 'index.html': '', 'public/index.html': '' })).toBe('served from the root of the repository: index.html');
    expect(where({ 'dist/index.html': '', 'src/x.js': '' })).toBe('served from dist/: dist/index.html');
    expect(where({ 'index.html': '', 'web/index.html': '', 'static.json': '{"root":"./web/"}' })).toBe('served from web/: static.json');
    expect(where({ 'index.html': '', 'web/index.html': '', 'a/index.html': '', 'static.json': '{"root":"web"}' }, { 'static-root': '/a' })).toBe('served from a/: setting static-root');
    expect(where({ 'public_html/index.html': '', 'static.json': '{}' })).toBe('served from public_html/: static.json');
  });
  it('refuses folders that are not there or are no folders', () => {
    for (const root of ['"nowhere"', '"../x"', '"a b"', '7', '"a;b"', '"--from=x"']) expect(failure({ 'index.html': '', 'static.json': `{"root":${root}}` }).code).toBe('detect.static');
    expect(failure({ 'index.html': '', 'static.json': '{' }).message).toContain('static.json: ');
    expect(failure({ 'index.html': '' }, { 'static-spa': 'yes; x' }).code).toBe('detect.static');
  });
  it('the web process is ours, unless a Procfile says otherwise', () => {
    expect(choose({ 'index.html': '' }).plan.processTypes).toEqual({ web: '/site/serve' });
    expect(choose({ 'index.html': '', Procfile: 'web: bin/boot\njob: sleep 1' }).plan.processTypes).toEqual({ web: '/site/serve', job: 'sleep 1' });
    expect(choose({ 'index.html': '', Procfile: 'web: ./own' }).plan.processTypes).toEqual({ web: './own' });
  });
});

describe('sites that Node builds', () => {
  const summary = (files: Files): string => choose(files).plan.summary;
  it('a build script and nothing to start, or a server for development', () => {
    for (const start of [undefined, 'vite', 'vite --host', 'react-scripts start', 'ng serve --open', 'npx vite', 'cross-env A=b webpack serve', 'astro dev', 'docusaurus start']) {
      expect(summary(node({ build: 'x', ...(start === undefined ? {} : { start }) }))).toBe('Node.js 24.x, static site, package-lock.json');
    }
  });
  it('what has a server is no site', () => {
    for (const start of ['node server.js', 'vite preview --port $PORT', 'next start', 'astro preview', 'vite-node server.ts', 'serve dist']) expect(summary(node({ build: 'x', start }))).toBe('Node.js 24.x, package-lock.json');
    expect(summary(node({ build: 'x' }, { 'server.js': '' }))).not.toContain('static');
    expect(summary(node({ build: 'x' }, { Procfile: 'web: node x.js' }))).not.toContain('static');
  });
  it('a site with a package.json for its tools is served as it is', () => {
    expect(choose(node({ lint: 'x' }, { 'index.html': page })).plan.buildpack).toBe('static');
    expect(choose(node({ start: 'node x' }, { 'index.html': page })).plan.buildpack).toBe('node');
    expect(failure(node({ lint: 'x' })).code).toBe('detect.no-process');
  });
  it('looks for the output, unless static.json says where it is', () => {
    expect(dockerfile(node({ build: 'x' }))).toContain('find=/app spa=auto');
    expect(dockerfile(node({ build: 'x' }, { 'static.json': '{"root":"dist/web"}' }))).toContain('root=/app/dist/web spa=auto');
  });
});
