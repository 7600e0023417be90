import { describe, expect, it } from 'vitest';
import { choose, failure, type Files } from '../../../../test/builders/kit.js';
import { composerRange } from './php.buildpack.js';

const composer = (require: Files, over: Readonly<Record<string, unknown>> = {}, lock: Readonly<Record<string, unknown>> | null = {}): Files => ({ 'composer.json': JSON.stringify({ require, ...over }), ...(lock === null ? {} : { 'composer.lock': JSON.stringify(lock) }) });
const dockerfile = (files: Files, settings: Files = {}): string => choose(files, settings).plan.dockerfile!;

describe('PHP buildpack', () => {
  it('the generated Dockerfile with Composer, extensions and assets', () => { expect(dockerfile({ ...composer({ php: '^8.2', 'ext-yaml': '*', 'a/b': '1' }), 'public/index.php': '', 'package.json': '{"scripts":{"build":"vite build"},"devDependencies":{"vite":"6"}}', 'package-lock.json': '{}' })).toMatchSnapshot(); });
  it('the generated Dockerfile with packages of the repository', () => { expect(dockerfile(composer({ 'a/b': '1' }, { repositories: [{ type: 'path', url: 'x' }], scripts: { compile: 'x' } }))).toMatchSnapshot(); });
  it('the web server\'s configuration', () => {
    const { plan } = choose({ 'index.php': '' });
    expect(plan.dockerfile).toMatchSnapshot();
    expect(plan.files!['.berth/php/nginx.conf']).toMatchSnapshot();
    expect(choose({ 'web/index.php': '' }).plan.files!['.berth/php/nginx.conf']).toContain('root /app/web;');
  });
  it.each([['^8.2', '>=8.2.0 <9.0.0-0'], ['^7.4|^8.0', '>=7.4.0 <8.0.0-0||>=8.0.0 <9.0.0-0'], ['>=8.1,<9', '>=8.1.0 <9.0.0-0'], ['~8.2', '>=8.2.0 <9.0.0-0'], ['~8.2.0', '>=8.2.0 <8.3.0-0'], ['8.*', '>=8.0.0 <9.0.0-0'], ['>= 8.1 || ^9.0@dev', '>=8.1.0||>=9.0.0 <10.0.0-0'], ['*', '*'], ['nonsense', null]])('Composer\'s %s', (text, range) => { expect(composerRange(text)).toBe(range); });
  it('the document root: a setting, Heroku\'s Procfile, the usual folders', () => {
    const root = (files: Files, settings: Files = {}): string => /root (\S+);/.exec(choose(files, settings).plan.files!['.berth/php/nginx.conf']!)![1]!;
    expect(root({ 'composer.json': '{}', 'public/index.php': '', 'web/index.php': '' })).toBe('/app/public');
    expect(root({ 'composer.json': '{}', 'www/x.php': '', Procfile: 'web: vendor/bin/heroku-php-apache2 www/' })).toBe('/app/www');
    expect(root({ 'composer.json': '{}', 'public/index.php': '', Procfile: 'web: heroku-php-nginx' })).toBe('/app');
    expect(root({ 'index.php': '', 'a/x.php': '' }, { 'document-root': 'a' })).toBe('/app/a');
    for (const odd of ['../x', 'nowhere', 'a;b', 'a b']) expect(failure({ 'index.php': '', 'a/x': '' }, { 'document-root': odd }).code).toBe('detect.document-root');
  });
  it('a Procfile with a server of its own is obeyed', () => {
    expect(choose({ 'composer.json': '{}', Procfile: 'web: php -S 0.0.0.0:$PORT\njob: x' }).plan.processTypes).toEqual({ web: 'php -S 0.0.0.0:$PORT', job: 'x' });
    expect(choose({ 'composer.json': '{}', Procfile: 'job: x\nrelease: y' }).plan).toMatchObject({ processTypes: { job: 'x', web: '/bin/bash /usr/local/lib/berth/php/serve' }, releaseCommand: 'y' });
  });
  it('extensions: those of the stack, of the distribution, and no others', () => {
    expect(dockerfile(composer({ 'ext-mbstring': '*', 'ext-PDO': '*', 'ext-zend-opcache': '*' }))).not.toContain('apt-get');
    expect(dockerfile(composer({}, {}, { packages: [{ require: { 'ext-imagick': '*' } }] })).match(/apt-get install -qy php8\.4-imagick/g)).toHaveLength(2);
    expect(failure(composer({ "ext-x'; id": '*', 'ext-oci8': '*' }))).toMatchObject({ code: 'detect.extension' });
  });
  it('insists on a lock file, a PHP that is there, and JSON', () => {
    expect(failure(composer({ 'a/b': '1' }, {}, null)).code).toBe('detect.no-lock');
    expect(choose(composer({ php: '>=8' }, {}, null)).plan.summary).toBe('PHP 8.4 (composer.json)');
    expect(failure(composer({ php: '~7.4.0' })).message).toBe("composer.json asks for PHP ~7.4.0; this server's stack has 8.4");
    expect(failure({ 'composer.json': '{' }).code).toBe('detect.composer');
  });
});
