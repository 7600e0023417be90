import { Range, intersects, validRange } from 'semver';
import { StepFailure } from '../../../events/step.js';
import type { Builder, Project } from '../builder.port.js';
import { argLines, buildStage, cacheMount, chown, copySource, linesOf, orSay, planOf, processesOf, runStage, setApart, toolVersions, userLine, type Wanted } from '../generated.js';
import { nodeAssets } from '../node/node.buildpack.js';
import type { SourceTree } from '../source-tree.js';
import { FPM_CONF, PHP_INI, PHP_SERVE, nginxConf } from './php-server.js';

const HERE = '/usr/local/lib/berth/php';
/** in the stack's PHP, whatever is asked for */
const BUILT_IN = new Set('apcu bcmath calendar core ctype curl date dom exif ffi fileinfo filter ftp gd gettext gmp hash iconv igbinary intl json libxml mbstring mysqli mysqlnd opcache openssl pcntl pcre pdo pdo_mysql pdo_pgsql pdo_sqlite pgsql phar posix random readline redis reflection session shmop simplexml soap sockets sodium spl sqlite3 standard sysvmsg sysvsem sysvshm tokenizer xml xmlreader xmlwriter xsl zip zlib'.split(' '));
/** extension → Debian's package without `php8.4-` where the names differ */
const PACKAGES: Readonly<Record<string, string>> = { pdo_odbc: 'odbc', pdo_firebird: 'interbase', pdo_dblib: 'sybase' };
for (const name of 'amqp ast bz2 dba ds enchant excimer gearman gmagick gnupg http imagick inotify ldap mailparse maxminddb memcache memcached mongodb msgpack odbc pcov ps pspell psr raphf smbclient snmp solr ssh2 stomp tidy uploadprogress uuid xdebug yac yaml zmq zstd'.split(' ')) (PACKAGES as Record<string, string>)[name] = name;

interface Composer { readonly php: Wanted | null; readonly extensions: readonly string[]; readonly packages: readonly string[]; readonly local: boolean; readonly scripts: readonly string[] }

const record = (value: unknown): Record<string, unknown> => (typeof value === 'object' && value !== null && !Array.isArray(value) ? value as Record<string, unknown> : {});

function json(tree: SourceTree, path: string): Record<string, unknown> {
  const text = tree.text(path);
  if (text === null) throw new StepFailure('detect.composer', `${path} can't be read: it is no plain text file, or larger than it may be`, null);
  try { return record(JSON.parse(text)); } catch (error) { throw new StepFailure('detect.composer', `${path}: ${(error as Error).message}`, 'it must be JSON'); }
}

/** What composer.json and composer.lock ask of the platform. */
function readComposer(tree: SourceTree): Composer | null {
  if (!tree.has('composer.json')) return null;
  const root = json(tree, 'composer.json');
  const wants = record(root['require']);
  const all = { ...wants, ...record(root['require-dev']) };
  const packages = Object.keys(all).filter((name) => name.includes('/'));
  if (packages.length > 0 && !tree.has('composer.lock')) throw new StepFailure('detect.no-lock', 'composer.json names packages and there is no composer.lock', 'composer update --lock, and commit composer.lock (it must not be in .gitignore)');
  const lock = tree.has('composer.lock') ? json(tree, 'composer.lock') : {};
  const platform = [wants, record(lock['platform']), ...(Array.isArray(lock['packages']) ? lock['packages'].map((item) => record(record(item)['require'])) : [])];
  const extensions = platform.flatMap((names) => Object.keys(names).filter((name) => /^ext-/i.test(name)).map((name) => name.slice(4).toLowerCase().replaceAll(/[ -]/g, '_').replace(/^zend_opcache$/, 'opcache')));
  const php = wants['php'];
  const repositories = Object.values(typeof root['repositories'] === 'object' && root['repositories'] !== null ? root['repositories'] : {});
  return {
    php: typeof php === 'string' ? { text: php, from: 'composer.json' } : null, extensions: [...new Set(extensions)].toSorted(), packages,
    local: repositories.some((item) => ['path', 'artifact'].includes(String(record(item)['type']))), scripts: Object.keys(record(root['scripts'])),
  };
}

/** Composer's constraint as a semver range: `^7.4|^8.0`, `>=8.1,<9`, `~8.2` (which means below 9 there). */
export function composerRange(text: string): string | null {
  const range = text.trim().replaceAll(/@\w+/g, '').replaceAll(/\s*\|\|?\s*/g, ' || ').replaceAll(/\s*,\s*/g, ' ').replaceAll(/~\s*(\d+\.\d+)(?![\d.])/g, '^$1').replaceAll(/(\d+\.\d+\.\d+)\.\d+/g, '$1').replaceAll(/([<>=]=?)\s+/g, '$1');
  return validRange(range) === null ? null : new Range(range).format() || '*';
}

/** @throws StepFailure `detect.version` that names what can be had */
function requirePhp(tree: SourceTree, composer: Composer | null, have: string): { readonly summary: string; readonly details: string[] } {
  const file = linesOf(tree, '.php-version')[0];
  const wanted = composer?.php ?? (file === undefined ? toolVersions(tree, ['php']) : { text: file, from: '.php-version' });
  if (wanted === null) return { summary: `PHP ${have}`, details: [`PHP ${have}: the stack's; nothing asks for another (require.php in composer.json)`] };
  const range = composerRange(wanted.text);
  if (range === null || !intersects(range, `${have}.x`)) throw new StepFailure('detect.version', `${wanted.from} asks for PHP ${JSON.stringify(wanted.text).slice(1, 80).replace(/"$/, '')}; this server's stack has ${have}`, `allow ${have} there, or bring the PHP of your choice with a Dockerfile`);
  return { summary: `PHP ${have} (${wanted.from})`, details: [`PHP ${have}: ${wanted.from} says ${wanted.text}`] };
}

/** Debian's packages for extensions that the stack's PHP lacks. @throws StepFailure `detect.extension` */
function extensionPackages(composer: Composer | null, version: string): string[] {
  const more = (composer?.extensions ?? []).filter((name) => !BUILT_IN.has(name));
  const unknown = more.filter((name) => !Object.hasOwn(PACKAGES, name));
  if (unknown.length > 0) {
    throw new StepFailure('detect.extension', `composer.json or composer.lock asks for ${unknown.map((name) => `ext-${name.slice(0, 40)}`).join(', ')}, which this server's distribution has no package of`, `beside those of the stack there are: ${Object.keys(PACKAGES).toSorted().join(', ')}; for others bring a Dockerfile`);
  }
  return more.map((name) => `php${version}-${PACKAGES[name]!}`);
}

const install = (packages: readonly string[]): string[] =>
  packages.length === 0 ? [] : [`RUN export DEBIAN_FRONTEND=noninteractive && apt-get update --error-on=any -q && apt-get install -qy ${packages.join(' ')} && rm -rf /var/lib/apt/lists/*${orSay('the extensions could not be installed from the packages of the distribution')}`];

/** The document root, and what says so. `heroku-php-nginx` and `heroku-php-apache2` in a Procfile name it as their last word. @throws StepFailure `detect.document-root` */
function documentRoot({ tree, settings, procfile }: Project): { readonly path: string; readonly from: string } {
  const heroku = /^(?:\S*\/)?heroku-php-(?:nginx|apache2)\b(.*)$/.exec(procfile?.processes['web'] ?? '')?.[1]?.trim().split(/\s+/).filter((word) => word !== '') ?? null;
  const last = heroku?.at(-1);
  const said = settings['document-root'] ? { path: settings['document-root'], from: 'setting document-root' } : heroku !== null ? { path: last === undefined || last.startsWith('-') ? '' : last, from: 'Procfile' } : null;
  if (said === null) return ['public', 'web', 'webroot', 'htdocs'].filter((folder) => tree.has(`${folder}/index.php`)).map((path) => ({ path, from: `${path}/index.php` }))[0] ?? { path: '', from: 'no public/index.php or web/index.php' };
  const path = said.path.replace(/^(\.?\/)+|\/+$/g, '').replace(/^\.$/, '');
  if (path !== '' && (!/^[A-Za-z0-9._/-]+$/.test(path) || path.split('/').includes('..') || !tree.paths.some((file) => file.startsWith(`${path}/`)))) throw new StepFailure('detect.document-root', `${said.from} names the document root ${JSON.stringify(said.path).slice(0, 80)}, which is no folder of the repository`, 'correct it');
  return { path, from: said.from };
}

/** Our own PHP buildpack: Composer; nginx and php-fpm. */
export const phpBuildpack: Builder = {
  name: 'php',
  title: 'PHP app',
  looksFor: 'composer.json, index.php at the root, in public/ or web/',
  detect({ tree }) {
    const found = ['composer.json', 'index.php', 'public/index.php', 'web/index.php'].find((path) => tree.has(path));
    return found === undefined ? null : { reason: `${found} is there` };
  },
  plan(project) {
    const { stack, tree, app } = project;
    const { home } = stack.user;
    const have = stack.versions['php'] ?? '';
    const composer = readComposer(tree);
    const version = requirePhp(tree, composer, have);
    const packages = extensionPackages(composer, have);
    const root = documentRoot(project);
    const assets = nodeAssets(project);
    const web = `/bin/bash ${HERE}/serve`;
    const own = project.procfile?.processes['web'];
    const ours = own === undefined || root.from === 'Procfile' || /^(?:\S*\/)?heroku-php-/.test(own);
    const { types, detail } = ours ? { types: { ...project.procfile?.processes, web }, detail: `web is nginx and php-fpm; document root ${root.path === '' ? 'is the root of the repository' : `${root.path}/`} (${root.from})` } : processesOf(project, null, 'PHP app');
    const cache = cacheMount(app, 'composer', '/root/.cache/composer');
    const flags = '--no-dev --no-interaction --no-progress --prefer-dist';
    const hint = orSay('the packages could not be installed: composer.lock must match composer.json (composer update --lock, and commit it), and every package must be in reach');
    const locked = composer !== null && tree.has('composer.lock');
    const apart = locked && !composer.local;
    const dockerfile = [
      `# Generated by Berth's PHP buildpack: ${composer === null ? 'no composer.json' : locked ? 'composer.lock' : 'composer.json'}`,
      ...(assets?.stage ?? []), ...(assets === null ? [] : ['']),
      ...buildStage(project, stack.image('build', 'php')),
      ...install(packages),
      ...(composer === null ? [] : ['ENV COMPOSER_ALLOW_SUPERUSER=1 COMPOSER_NO_INTERACTION=1 COMPOSER_HOME=/root/.composer COMPOSER_CACHE_DIR=/root/.cache/composer']),
      `WORKDIR ${home}`, ...argLines(project),
      ...(apart ? ['COPY composer.json composer.lock ./', `RUN composer validate --no-check-all --no-check-publish --quiet || { composer validate --no-check-all --no-check-publish; echo ' !     composer.lock does not match composer.json: composer update --lock, and commit both'; exit 1; }`, `RUN ${cache} composer install ${flags} --no-scripts --no-autoloader${hint}`] : []),
      ...(assets?.early ?? []),
      ...copySource(project, '.'),
      ...(locked && !apart ? [`RUN composer validate --no-check-all --no-check-publish --quiet || { composer validate --no-check-all --no-check-publish; echo ' !     composer.lock does not match composer.json: composer update --lock, and commit both'; exit 1; }`] : []),
      ...(composer === null ? [] : [`RUN ${cache} composer install ${flags} --optimize-autoloader${hint}${composer.scripts.includes('compile') ? ' && composer run-script --no-dev compile' : ''}`]),
      ...(assets?.late ?? []),
      `RUN ${setApart('vendor')}`,
      '',
      ...runStage(project, stack.image('run', 'php'), { PATH: `${home}/vendor/bin`, PHP_INI_SCAN_DIR: `:${HERE}/conf.d` }),
      ...install(packages),
      `COPY .berth/php/ ${HERE}/`,
      `COPY --from=build ${chown(project)} ${home}/vendor ./vendor`,
      `COPY --from=build ${chown(project)} /out/ ./`,
      userLine(project),
    ];
    return {
      plan: planOf(project, {
        buildpack: 'php', summary: `${version.summary}${locked ? ', composer.lock' : ''}`, processTypes: types, dockerfile,
        files: { ...assets?.files, '.berth/php/nginx.conf': nginxConf(home, root.path), '.berth/php/fpm.conf': FPM_CONF, '.berth/php/serve': PHP_SERVE, '.berth/php/conf.d/99-berth.ini': PHP_INI },
      }),
      details: [...version.details, ...(composer === null ? [] : [`packages: ${locked ? 'composer.lock' : 'none'}`]), ...(packages.length === 0 ? [] : [`extensions: ${packages.join(', ')}`]), ...(assets?.details ?? []), detail],
      warnings: assets?.warnings ?? [],
    };
  },
};
