import { StepFailure } from '../../../events/step.js';
import type { Builder, Project } from '../builder.port.js';
import { argLines, buildStage, cacheMount, copySource, orSay, planOf, processesOf, runStage, userLine } from '../generated.js';
import { requirePython } from './python-version.js';
import type { SourceTree } from '../source-tree.js';
import { readToml } from '../toml.js';

/** How the packages of a project are installed. */
interface Installer {
  readonly kind: 'pipenv' | 'pip' | 'poetry' | 'uv' | 'pyproject';
  /** the file that decides */
  readonly file: string;
  /** lower case, normalized names of what is asked for or locked, as far as the texts tell */
  readonly packages: ReadonlySet<string>;
}

const VENV = '/opt/venv';
/** where uv puts a Python that the stack has not */
const PYTHONS = '/opt/python';
/** uv's own settings: where other Pythons are */
const MIRRORS = ['UV_PYTHON_INSTALL_MIRROR', 'UV_PYTHON_DOWNLOADS_JSON_URL'];
const FILES = ['requirements.txt', 'pyproject.toml', 'Pipfile', 'Pipfile.lock', 'poetry.lock', 'uv.lock'];

const normal = (name: string): string => name.toLowerCase().replace(/[-_.]+/g, '-');
/** `Django[argon2]>=5 ; python_version > "3"` → `django` */
const nameOf = (requirement: string): string | null => {
  const match = /^\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)/.exec(requirement);
  return match ? normal(match[1]!) : null;
};
const named = (requirements: readonly string[]): Set<string> => new Set(requirements.flatMap((line) => nameOf(line) ?? []));

/** A requirements file with everything it includes. `files` in the order met; `local` when a path in the tree is installed. */
export function readRequirements(tree: SourceTree, path: string): { readonly files: string[]; readonly lines: string[]; readonly local: boolean } {
  const files: string[] = [];
  const lines: string[] = [];
  let local = false;
  const visit = (at: string): void => {
    if (files.includes(at) || !tree.has(at)) return;
    files.push(at);
    for (const raw of (tree.text(at) ?? '').replace(/\\\r?\n/g, ' ').split(/\r?\n/)) {
      const line = raw.replace(/(^|\s)#.*$/, '').trim();
      const include = /^(?:-r|--requirement|-c|--constraint)[\s=]*(\S+)$/.exec(line);
      if (include) {
        const parts = at.split('/').slice(0, -1);
        for (const part of include[1]!.split('/')) { if (part === '..') parts.pop(); else if (part !== '.' && part !== '') parts.push(part); }
        if (!/^[a-z]+:\/\//.test(include[1]!)) visit(parts.join('/'));
      } else if (line !== '') {
        if (/^(?:-e|--editable)\s+(?!\S+:\/\/|git\+)/.test(line) || /^(?:\.|\/|file:)/.test(line) || /@\s*file:/.test(line) || /^(?:-f\s*|--find-links[\s=]\s*)(?!https?:|\s)/.test(line)) local = true;
        if (!line.startsWith('-')) lines.push(line);
      }
    }
  };
  visit(path);
  return { files, lines, local };
}

const locked = (text: string): Set<string> => new Set([...text.matchAll(/^\[\[package\]\]\s*\nname\s*=\s*"([^"]+)"/gm)].map((match) => normal(match[1]!)));

/** Which of the package managers a repository speaks of; Heroku's order. */
function installer(tree: SourceTree): Installer {
  const pyproject = readToml(tree, 'pyproject.toml');
  if (tree.has('Pipfile') || tree.has('Pipfile.lock')) {
    if (!tree.has('Pipfile.lock')) throw new StepFailure('detect.no-lock', 'there is a Pipfile and no Pipfile.lock', 'pipenv lock, and commit both');
    if (!tree.has('Pipfile')) throw new StepFailure('detect.no-lock', 'there is a Pipfile.lock and no Pipfile', 'commit both');
    let lock: { default?: Record<string, unknown> };
    try { lock = JSON.parse(tree.text('Pipfile.lock') ?? '{}') as typeof lock; } catch { throw new StepFailure('detect.lock', 'Pipfile.lock is not JSON', 'pipenv lock, and commit it'); }
    return { kind: 'pipenv', file: 'Pipfile.lock', packages: new Set(Object.keys(lock.default ?? {}).map(normal)) };
  }
  if (tree.has('requirements.txt')) return { kind: 'pip', file: 'requirements.txt', packages: named(readRequirements(tree, 'requirements.txt').lines) };
  if (tree.has('poetry.lock') || tree.has('uv.lock')) {
    const kind = tree.has('poetry.lock') ? 'poetry' : 'uv';
    if (!tree.has('pyproject.toml')) throw new StepFailure('detect.no-lock', `there is a ${kind}.lock and no pyproject.toml`, 'commit both');
    return { kind, file: `${kind}.lock`, packages: locked((tree.text(`${kind}.lock`) ?? '').replace(/\r\n/g, '\n')) };
  }
  if (pyproject.has('tool', 'poetry', 'dependencies')) throw new StepFailure('detect.no-lock', 'pyproject.toml is Poetry\'s and there is no poetry.lock', 'poetry lock, and commit it');
  if (!pyproject.has('project')) throw new StepFailure('detect.no-packages', 'pyproject.toml has no [project] table and there is no requirements.txt', 'list the packages in one of them');
  return { kind: 'pyproject', file: 'pyproject.toml', packages: named(pyproject.list('project', 'dependencies')) };
}

/** `docker build` splits and substitutes words of COPY: only plain names go there, others make us copy everything. */
const plain = (path: string): boolean => /^[A-Za-z0-9._@+/][A-Za-z0-9._/@+-]*$/.test(path);

const unavailable = (file: string): string => orSay(`the packages of ${file} could not be installed: the lines above say which; each must exist in a version that is asked for`);

/** A program of PyPI's in a place of its own. */
const toolLine = (app: string, name: string, spec: string): string => `RUN ${cacheMount(app, 'pip', '/root/.cache/pip')} python3 -m venv --without-pip /opt/${name} && python3 -m pip --python /opt/${name}/bin/python install --quiet '${spec}'`;

/** The venv, on a Python that uv fetches. */
function fetched(app: string, wanted: string, have: string, mirrors: readonly string[]): string[] {
  const uv = `UV_PYTHON_INSTALL_DIR=${PYTHONS} UV_PYTHON_CACHE_DIR=/root/.cache/uv-python UV_PYTHON_INSTALL_BIN=0 /opt/uv/bin/uv`;
  return [
    toolLine(app, 'uv', 'uv'), ...mirrors.map((name) => `ARG ${name}`),
    `RUN ${cacheMount(app, 'python', '/root/.cache/uv-python')} { ${uv} python install --no-progress '${wanted}' && ${uv} venv --no-project --managed-python --python '${wanted}' ${VENV}; }${orSay(`Python ${wanted} could not be fetched by uv: the mirror of UV_PYTHON_INSTALL_MIRROR must have it; the stack has ${have}`)}`,
  ];
}

/** Lines of the build stage: a venv at its final path, filled from lock files alone where that is possible. */
function dependencies(project: Project, how: Installer, python: string): string[] {
  const { tree, app } = project;
  const pip = `python3 -m pip --python ${VENV}/bin/python install`;
  const cache = (what: string, target: string): string => `RUN ${cacheMount(app, what, target)}`;
  const pipCache = cache('pip', '/root/.cache/pip');
  const pyproject = readToml(tree, 'pyproject.toml');
  const tool = (name: string, spec: string): string => toolLine(app, name, spec);
  const everything = copySource(project, '.');
  const uv = `UV_PYTHON=${python} UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 /opt/uv/bin/uv`;
  const args = argLines(project);
  switch (how.kind) {
    case 'pip': {
      const { files, local } = readRequirements(tree, 'requirements.txt');
      const apart = !local && files.every(plain);
      return [...args, ...(apart ? files.map((file) => `COPY ${file} ${file}`) : everything), `${pipCache} ${pip} -r requirements.txt${unavailable('requirements.txt')}`];
    }
    case 'pipenv':
      return [tool('pipenv', 'pipenv>=2024'), ...args, 'COPY Pipfile Pipfile.lock ./', `${pipCache} /opt/pipenv/bin/pipenv verify${orSay('Pipfile.lock does not match Pipfile: pipenv lock, and commit both')} && { /opt/pipenv/bin/pipenv requirements --hash > /tmp/requirements.txt && ${pip} -r /tmp/requirements.txt; }${unavailable('Pipfile.lock')}`];
    case 'poetry': {
      const root = pyproject.has('build-system') && !pyproject.is(false, 'tool', 'poetry', 'package-mode');
      const install = `${cache('poetry', '/root/.cache/pypoetry')} VIRTUAL_ENV=${VENV} POETRY_VIRTUALENVS_CREATE=false /opt/poetry/bin/poetry install --only main --no-interaction --no-ansi`;
      const said = unavailable('poetry.lock');
      return [tool('poetry', 'poetry>=2,<3'), ...args, 'COPY pyproject.toml poetry.lock ./', `RUN /opt/poetry/bin/poetry check --lock --no-ansi --quiet${orSay('poetry.lock does not match pyproject.toml: poetry lock, and commit it')}`, `${install} --no-root${said}`, ...(root ? [...everything, `${install}${said}`] : [])];
    }
    case 'uv': {
      const sync = `${cache('uv', '/root/.cache/uv')} UV_PROJECT_ENVIRONMENT=${VENV} ${uv} sync --locked --no-dev --no-progress`;
      const said = orSay('the packages could not be installed; uv.lock must match pyproject.toml: uv lock, and commit both');
      const root = pyproject.has('build-system');
      const whole = pyproject.has('tool', 'uv', 'workspace') || /\bpath\s*=|workspace\s*=\s*true/.test(tree.text('pyproject.toml') ?? '');
      return [tool('uv', 'uv'), ...args, ...(whole ? [...everything, `${sync}${said}`] : ['COPY pyproject.toml uv.lock ./', `${sync} --no-install-project${said}`, ...(root ? [...everything, `${sync}${said}`] : [])])];
    }
    case 'pyproject': {
      // uv here, too: it reads the dependencies without building the project, and pip makes a fresh build environment each time (8 s)
      const install = `${cache('uv', '/root/.cache/uv')} ${uv} pip install --python ${VENV}/bin/python --no-progress`;
      return [tool('uv', 'uv'), ...args, 'COPY pyproject.toml ./', `${install} -r pyproject.toml${unavailable('pyproject.toml')}`, ...(pyproject.has('build-system') ? [...everything, `${install} --no-deps -e .`] : [])];
    }
  }
}

/** The dotted name of a Django project, from manage.py or the one folder with a wsgi.py. */
export function djangoProject(tree: SourceTree): string | null {
  const settings = /DJANGO_SETTINGS_MODULE['"]\s*,\s*['"]([\w.]+?)\.settings(?:\.[\w.]+)?['"]/.exec(tree.text('manage.py') ?? '')?.[1];
  if (settings !== undefined && tree.has(`${settings.replaceAll('.', '/')}/wsgi.py`)) return settings;
  const found = tree.paths.filter((path) => /^[A-Za-z_]\w*\/wsgi\.py$/.test(path)).map((path) => path.split('/')[0]!);
  return found.length === 1 ? found[0]! : null;
}

/** Whether `collectstatic` shall run, and why (not). */
function collectstatic(project: Project, packages: ReadonlySet<string>): { readonly run: boolean; readonly why: string | null } {
  const { tree, settings } = project;
  if (!tree.has('manage.py') || !packages.has('django') && !/django/i.test(tree.text('manage.py') ?? '')) return { run: false, why: null };
  const off = settings['DISABLE_COLLECTSTATIC'];
  if (off !== undefined && off !== '' && off !== '0') return { run: false, why: 'collectstatic: switched off by DISABLE_COLLECTSTATIC' };
  const texts = tree.paths.filter((path) => /(^|\/)settings(\/[^/]+)*\.py$|(^|\/)settings\.py$/.test(path)).map((path) => tree.text(path) ?? '');
  if (texts.length === 0) return { run: true, why: 'collectstatic: manage.py is there' };
  const says = (what: RegExp): boolean => texts.some((text) => text.split('\n').some((line) => what.test(line.replace(/#.*$/, ''))));
  if (!says(/django\.contrib\.staticfiles/)) return { run: false, why: 'collectstatic: left out, django.contrib.staticfiles is not used' };
  if (!says(/STATIC_ROOT/)) return { run: false, why: 'collectstatic: left out, the settings have no STATIC_ROOT' };
  return { run: true, why: 'collectstatic: staticfiles and STATIC_ROOT are in the settings' };
}

function processes(project: Project, how: Installer): ReturnType<typeof processesOf> {
  const django = project.procfile === null && project.tree.has('manage.py') ? djangoProject(project.tree) : null;
  if (django === null) return processesOf(project, null, 'Python app');
  if (!how.packages.has('gunicorn')) throw new StepFailure('detect.no-process', `there is no Procfile, and a Django project needs a server: gunicorn is not in ${how.file}`, `add gunicorn to ${how.file}, or a Procfile: "web: <command that listens on $PORT>"`);
  const web = `gunicorn ${django}.wsgi --bind 0.0.0.0:$PORT`;
  return processesOf(project, { types: { web }, why: `web is ${web}` }, 'Python app');
}

/** Our own Python buildpack: pip, Poetry, uv, Pipenv; Django's static files. Two stages: compilers stay behind. */
export const pythonBuildpack: Builder = {
  name: 'python',
  title: 'Python app',
  looksFor: FILES.join(', '),
  needs: { build: { python3: 'command -v python3', venv: "python3 -c 'import venv'", pip: 'python3 -m pip --version' }, run: { python3: 'command -v python3' } },
  detect({ tree }) {
    const found = FILES.filter((file) => tree.has(file));
    // many projects of other languages keep a pyproject.toml for their tools: alone it must say that there is a project
    if (found.length === 1 && found[0] === 'pyproject.toml') {
      const tables = readToml(tree, 'pyproject.toml');
      if (!tables.has('project') && !tables.has('tool', 'poetry')) return null;
    }
    return found.length > 0 ? { reason: `${found.join(', ')} ${found.length > 1 ? 'are' : 'is'} there` } : null;
  },
  plan(project) {
    const { stack, tree } = project;
    const { home } = stack.user;
    const how = installer(tree);
    const mirrors = MIRRORS.filter((key) => project.settings[key]);
    const version = requirePython(tree, stack.versions['python'] ?? '', mirrors.length > 0);
    const { types, detail } = processes(project, how);
    const statics = collectstatic(project, how.packages);
    const first = version.fetch === null ? [`RUN python3 -m venv --without-pip ${VENV}`] : fetched(project.app, version.fetch, stack.versions['python'] ?? '', mirrors);
    const dockerfile = [
      `# Generated by Berth's Python buildpack: ${how.file}`,
      ...buildStage(project),
      `ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_PROGRESS_BAR=off PIP_ROOT_USER_ACTION=ignore`,
      `WORKDIR ${home}`,
      ...first,
      ...dependencies(project, how, version.fetch === null ? '/usr/bin/python3' : `${VENV}/bin/python`).filter((line) => !first.includes(line)),
      '',
      ...runStage(project, stack.run, { VIRTUAL_ENV: VENV, PATH: `${VENV}/bin`, PYTHONUNBUFFERED: '1', WEB_CONCURRENCY: '2', FORWARDED_ALLOW_IPS: '*' }),
      ...(version.fetch === null ? [] : [`COPY --from=build ${PYTHONS} ${PYTHONS}`]),
      `COPY --from=build ${VENV} ${VENV}`,
      ...copySource(project, home, true),
      userLine(project),
      // settings often insist on these; the values are placeholders of this one command and stay nowhere
      ...(statics.run ? [`RUN SECRET_KEY=collectstatic DJANGO_SECRET_KEY=collectstatic DATABASE_URL=sqlite:////tmp/collectstatic.sqlite3 python manage.py collectstatic --noinput${orSay(`collectstatic failed: it must work without the app'"'"'s configuration; config:set <app> DISABLE_COLLECTSTATIC=1 leaves it out`)}`] : []),
    ];
    const plan = planOf(project, { buildpack: 'python', summary: `${version.summary}, ${how.file}`, processTypes: types, dockerfile });
    const others = FILES.filter((file) => /\.lock$|requirements\.txt/.test(file) && tree.has(file) && file !== how.file);
    return {
      plan: version.fetch === null ? plan : { ...plan, buildArgs: [...new Set([...plan.buildArgs, ...mirrors])] },
      details: [...version.details, `packages: ${how.file}${how.kind === 'pip' || how.kind === 'pyproject' ? '' : ` (${how.kind})`}`, ...(statics.why === null ? [] : [statics.why]), detail],
      warnings: others.length > 0 ? [`${others.join(', ')} ${others.length > 1 ? 'are' : 'is'} not used: ${how.file} decides`] : [],
    };
  },
};
