import { createHash } from 'node:crypto';

/**
 * A stack: the two images that buildpacks stand on, made on this machine from the distribution's own packages so that no
 * image registry is needed. `run` carries an app, `build` is run plus compilers and headers (FROM run: the layers are shared).
 * Pure: what to make, as data; `stack-build.main.ts` makes it.
 */
export interface StackDefinition {
  /** raised when an app built on the old one would not run on the new one, or the other way round */
  readonly version: number;
  /** major version of Debian, part of the image names */
  readonly debian: string;
  readonly suite: string;
  /** packages that are in the base already when it is bootstrapped */
  readonly base: readonly string[];
  readonly run: readonly string[];
  readonly build: readonly string[];
  /** what single languages need beyond that: images of their own on top, made when the first app wants them */
  readonly parts: Readonly<Record<string, StackPart>>;
  /** languages of the stack → `major.minor` that it has */
  readonly versions: Readonly<Record<string, string>>;
  /** who apps run as */
  readonly user: { readonly name: string; readonly uid: number; readonly home: string };
}

/** A part's run image is run plus `run`; its build image is build plus both lists. An empty list needs no image. */
export interface StackPart { readonly run: readonly string[]; readonly build: readonly string[] }

export const STACK: StackDefinition = Object.freeze({
  version: 1,
  debian: '13',
  suite: 'trixie',
  base: ['ca-certificates'],
  run: [
    'python3', 'libpq5', 'libmariadb3', // what psycopg and mysqlclient load when they were compiled
    'media-types', 'netbase', 'tzdata', // mimetypes, getservbyname, zoneinfo
    'curl', 'procps', // what people reach for inside a container
  ],
  build: ['build-essential', 'python3-dev', 'python3-venv', 'python3-pip', 'git', 'pkg-config', 'libpq-dev', 'libmariadb-dev', 'libffi-dev', 'libssl-dev', 'zlib1g-dev', 'libjpeg-dev', 'libxml2-dev', 'libxslt1-dev'],
  parts: {
    go: { run: [], build: ['golang-go'] },
    rust: { run: [], build: ['cargo-web', 'rustc-web'] },
    rustup: { run: [], build: ['rustup'] },
    java: { run: ['openjdk-21-jre-headless'], build: ['openjdk-21-jdk-headless', 'maven'] },
    java25: { run: ['openjdk-25-jre-headless'], build: ['openjdk-25-jdk-headless', 'maven'] },
    ruby: { run: ['ruby', 'ruby-bundler', 'libyaml-0-2', 'libsqlite3-0'], build: ['ruby-dev', 'libyaml-dev', 'libsqlite3-dev'] },
    php: { run: ['php-cli', 'php-fpm', 'php-curl', 'php-intl', 'php-mbstring', 'php-mysql', 'php-pgsql', 'php-sqlite3', 'php-xml', 'php-zip', 'php-bcmath', 'php-gd', 'php-gmp', 'php-soap', 'php-redis', 'php-apcu', 'nginx-light'], build: ['composer', 'unzip'] },
    elixir: { run: [], build: ['elixir', 'erlang-dev', 'erlang-parsetools', 'erlang-xmerl'] },
    static: { run: ['nginx-light'], build: [] },
  },
  versions: { python: '3.13', go: '1.24', rust: '1.96', java: '21', ruby: '3.3', php: '8.4', elixir: '1.18' },
  user: { name: 'app', uid: 1000, home: '/app' },
});

export interface StackImages { readonly base: string; readonly run: string; readonly build: string; readonly name: string }

/** Names of the images in the engine; `name` is what buildpacks see as `STACK`. */
export function stackImages(stack: StackDefinition = STACK): StackImages {
  const tag = `${stack.debian}-${stack.version}`;
  return { base: `berth/stack-base:${tag}`, run: `berth/stack-run:${tag}`, build: `berth/stack-build:${tag}`, name: `berth-${stack.debian}` };
}

export type StackKind = 'run' | 'build';

/** The image of a kind with what a part adds; the plain one when it adds nothing. @throws Error no such part */
export function stackImage(kind: StackKind, part: string | null, stack: StackDefinition = STACK): string {
  const images = stackImages(stack);
  if (part === null) return images[kind];
  const adds = partOf(part, stack);
  return adds.run.length + (kind === 'build' ? adds.build.length : 0) === 0 ? images[kind] : images[kind].replace(':', `-${part}:`);
}

function partOf(part: string, stack: StackDefinition): StackPart {
  if (!Object.hasOwn(stack.parts, part)) throw new Error(`the stack has no part ${part}`);
  return stack.parts[part]!;
}

/** Every image on top of the common ones: reference → what it is. */
export function partImages(stack: StackDefinition = STACK): ReadonlyMap<string, { readonly kind: StackKind; readonly part: string }> {
  const common = Object.values(stackImages(stack));
  return new Map(Object.keys(stack.parts).flatMap((part) => (['run', 'build'] as const).map((kind) => [stackImage(kind, part, stack), { kind, part }] as const)).filter(([image]) => !common.includes(image)));
}

/** The stack's images that a Dockerfile stands on. */
export function stackImagesIn(dockerfile: string, stack: StackDefinition = STACK): string[] {
  const known = new Set([...partImages(stack).keys(), ...Object.values(stackImages(stack))]);
  return [...new Set([...dockerfile.matchAll(/^FROM\s+(\S+)/gim), ...dockerfile.matchAll(/--from=(\S+)/g)].map((match) => match[1]!))].filter((image) => known.has(image));
}

export interface Mirrors {
  /** base URL of the archive: `http://deb.debian.org/debian` */
  readonly main: string;
  /** base URL of the security archive, or null for a mirror that has none */
  readonly security: string | null;
}

export const DEFAULT_MIRRORS: Mirrors = Object.freeze({ main: 'http://deb.debian.org/debian', security: 'http://deb.debian.org/debian-security' });

/** `/etc/apt/sources.list.d/debian.sources` of the stack, deb822. */
export function aptSources(mirrors: Mirrors, stack: StackDefinition = STACK): string {
  const signed = 'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg';
  const block = (uri: string, suites: string): string => ['Types: deb', `URIs: ${uri}`, `Suites: ${suites}`, 'Components: main', signed, ''].join('\n');
  return [block(mirrors.main, `${stack.suite} ${stack.suite}-updates`), ...(mirrors.security === null ? [] : [block(mirrors.security, `${stack.suite}-security`)])].join('\n');
}

/** Trees that a container never reads; left out of the base and by dpkg afterwards. Copyright files stay. */
export const EXCLUDED = ['/usr/share/doc/*', '/usr/share/man/*', '/usr/share/info/*', '/usr/share/locale/*', '/usr/share/lintian/*'] as const;

/** Files put into the bootstrapped base: path without leading slash → text. */
export function baseFiles(mirrors: Mirrors, stack: StackDefinition = STACK): Readonly<Record<string, string>> {
  return {
    'etc/apt/sources.list.d/debian.sources': aptSources(mirrors, stack),
    'etc/apt/apt.conf.d/90berth': 'APT::Install-Recommends "false";\nAPT::Keep-Downloaded-Packages "false";\nAcquire::Languages "none";\nAcquire::Retries "3";\nDpkg::Use-Pty "0";\n',
    // an image is thrown away when the machine dies while it is made: nothing is gained by fsync
    'etc/dpkg/dpkg.cfg.d/90berth': ['force-unsafe-io', ...EXCLUDED.map((path) => `path-exclude=${path}`), 'path-include=/usr/share/doc/*/copyright', ''].join('\n'),
    'usr/sbin/policy-rc.d': '#!/bin/sh\nexit 101\n',
  };
}

// a part: the common images are up to date, and the JDK's scripts stop without the folder of man pages, which the stack leaves out
const install = (packages: readonly string[], upgrade = true): string =>
  `RUN export DEBIAN_FRONTEND=noninteractive${upgrade ? '' : ' && install -d /usr/share/man/man1'} \\\n && apt-get update --error-on=any -q${upgrade ? ' && apt-get upgrade -qy' : ''} \\\n && apt-get install -qy ${packages.join(' ')} \\\n && apt-get clean && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/ldconfig/aux-cache`;

/** Dockerfile of the run image. */
export function runDockerfile(stack: StackDefinition = STACK): string {
  const { name, uid, home } = stack.user;
  return [
    `FROM ${stackImages(stack).base}`,
    install(stack.run),
    `RUN groupadd -g ${uid} ${name} && useradd -u ${uid} -g ${uid} -d ${home} -s /bin/bash -M ${name} && install -d -o ${uid} -g ${uid} ${home}`,
    `ENV LANG=C.UTF-8 STACK=${stackImages(stack).name}`,
    `WORKDIR ${home}`,
    '',
  ].join('\n');
}

/** Dockerfile of the build image. */
export function buildDockerfile(stack: StackDefinition = STACK): string {
  return [`FROM ${stackImages(stack).run}`, install(stack.build), ''].join('\n');
}

/** Dockerfile of a part's image. */
export function partDockerfile(kind: StackKind, part: string, stack: StackDefinition = STACK): string {
  const { run, build } = partOf(part, stack);
  return [`FROM ${stackImages(stack)[kind]}`, install(kind === 'run' ? run : [...run, ...build], false), ''].join('\n');
}

/** Labels under which the images are found again. */
export const LABEL_DEFINITION = 'berth.stack.definition';
/** id of the image that this one stands on */
export const LABEL_FROM = 'berth.stack.from';
/** see contentVersion */
export const LABEL_VERSION = 'berth.stack.version';
/** where its packages came from, and those that are installed in it later */
export const LABEL_MIRROR = 'berth.stack.mirror';

/** Whether it is one that stack-build makes, wherever it was made. */
export const isOwn = (image: string): boolean => image.startsWith('berth/stack-');

/** The version of an image that apps stand on: its content's; for one that is not ours its id's, whatever labels it has from one of ours below it. */
export function versionOf(name: string, image: { readonly id: string; readonly labels: Readonly<Record<string, string>> }): string {
  return (isOwn(name) ? image.labels[LABEL_VERSION] : undefined) ?? image.id.replace('sha256:', '').slice(0, 12);
}

/**
 * What an image was made from, sha-256 hex: an image with the same hash needs no rebuild. The mirror is no part of it (the same
 * packages come from everywhere); a layer's hash covers the layers below.
 */
export function definitionHashes(stack: StackDefinition = STACK): { readonly base: string; readonly run: string; readonly build: string } {
  const hash = (...parts: string[]): string => createHash('sha256').update(parts.join('\0')).digest('hex');
  const base = hash(stack.suite, stack.base.join(' '), JSON.stringify(baseFiles({ main: '', security: '' }, stack)));
  const run = hash(base, runDockerfile(stack));
  return { base, run, build: hash(run, buildDockerfile(stack)) };
}

/** The same for a part's image. */
export function partHash(kind: StackKind, part: string, stack: StackDefinition = STACK): string {
  return createHash('sha256').update([definitionHashes(stack)[kind], partDockerfile(kind, part, stack)].join('\0')).digest('hex');
}

/**
 * The mirror that a Debian host uses, read from the texts of its apt sources (one-line or deb822), or null for each that is not
 * found. Only http(s) ones: containers cannot follow `cdrom:`, `file:` or `mirror+file:`.
 */
export function hostMirrors(sources: readonly string[], codename: string): { main: string | null; security: string | null } {
  const found: { main: string | null; security: string | null } = { main: null, security: null };
  const take = (uri: string, suite: string, components: readonly string[]): void => {
    if (!/^https?:\/\//.test(uri) || !components.includes('main')) return;
    const clean = uri.replace(/\/+$/, '');
    if (suite === codename || suite === 'stable' || suite === 'oldstable') found.main ??= clean;
    else if (suite === `${codename}-security` || suite === `${codename}/updates`) found.security ??= clean;
  };
  for (const text of sources) {
    for (const line of text.split('\n')) {
      const one = /^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.+)$/.exec(line.trim());
      if (one) take(one[1]!, one[2]!, one[3]!.split(/\s+/));
    }
    for (const stanza of text.split(/\n\s*\n/)) {
      const fields = new Map<string, string>();
      for (const line of stanza.split('\n')) {
        const field = /^([A-Za-z-]+):\s*(.*)$/.exec(line);
        if (field) fields.set(field[1]!.toLowerCase(), field[2]!);
      }
      if (!(fields.get('types') ?? '').split(/\s+/).includes('deb') || fields.get('enabled') === 'no') continue;
      for (const uri of (fields.get('uris') ?? '').split(/\s+/)) for (const suite of (fields.get('suites') ?? '').split(/\s+/)) take(uri, suite, (fields.get('components') ?? '').split(/\s+/));
    }
  }
  return found;
}
