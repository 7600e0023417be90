import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { djangoProject, readRequirements } from './python.buildpack.js';
import { pythonFits } from './python-version.js';
import { choose, failure, type Files } from '../../../../test/builders/kit.js';
import { treeOf } from '../source-tree.js';

const dockerfile = (files: Files, settings: Files = {}): string => choose({ Procfile: 'web: python app.py', ...files }, settings).plan.dockerfile!;
const django: Files = {
  'manage.py': "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')", 'mysite/wsgi.py': '', 'mysite/settings.py': "INSTALLED_APPS=['django.contrib.staticfiles']\nSTATIC_ROOT='x'",
};

describe('Python buildpack: the generated Dockerfile', () => {
  it('for the sample blog', () => {
    const root = join(import.meta.dirname, '../../../../deploy/samples/blog');
    const files = Object.fromEntries(readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => { const path = join(entry.parentPath, entry.name); return [relative(root, path), readFileSync(path, 'utf8')]; }));
    const { plan, details, title } = choose(files);
    expect(title).toBe('Python app');
    expect(plan).toMatchObject({ builder: 'buildpack', buildpack: 'python', summary: 'Python 3.13 (.python-version), requirements.txt', releaseCommand: 'python manage.py migrate --noinput', port: 5000, check: { path: '/healthz', timeoutMs: 5000, attempts: 10, waitMs: 1000 } });
    expect(Object.keys(plan.processTypes)).toEqual(['web']);
    expect(details).toMatchInlineSnapshot(`
      [
        "Python 3.13: .python-version says 3.13",
        "packages: requirements.txt",
        "collectstatic: staticfiles and STATIC_ROOT are in the settings",
        "Procfile: web, release",
      ]
    `);
    expect(plan.dockerfile).toMatchSnapshot();
  });
  it('with included requirement files', () => { expect(dockerfile({ 'requirements.txt': '-r requirements/prod.txt', 'requirements/prod.txt': '-c constraints.txt\nflask', 'requirements/constraints.txt': 'flask<4' })).toMatchSnapshot(); });
  it('with a package of the tree: everything is copied first', () => { expect(dockerfile({ 'requirements.txt': '-e ./lib\nflask', 'lib/setup.py': '' })).toMatchSnapshot(); });
  it('with uv', () => { expect(dockerfile({ 'pyproject.toml': '[project]\nname="x"\nrequires-python=">=3.12"\n', 'uv.lock': '' })).toMatchSnapshot(); });
  it('with uv and a package', () => { expect(dockerfile({ 'pyproject.toml': '[project]\nname="x"\n[build-system]\nrequires=["hatchling"]\n', 'uv.lock': '' })).toMatchSnapshot(); });
  it('with Poetry', () => { expect(dockerfile({ 'pyproject.toml': '[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\npython="^3.11"\n[build-system]\n', 'poetry.lock': '' })).toMatchSnapshot(); });
  it('with Pipenv', () => { expect(dockerfile({ Pipfile: '', 'Pipfile.lock': '{"default":{"flask":{}}}' })).toMatchSnapshot(); });
  it('with a pyproject and no lock', () => { expect(dockerfile({ 'pyproject.toml': '[project]\nname="x"\ndependencies=["flask"]\n' })).toMatchSnapshot(); });
  it('names what the build may see in the stage that is thrown away', () => {
    const text = dockerfile({ 'requirements.txt': '' }, { 'build-args': 'PIP_EXTRA_INDEX_URL' });
    expect(text.indexOf('ARG PIP_EXTRA_INDEX_URL')).toBeGreaterThan(0);
    expect(text.indexOf('ARG PIP_EXTRA_INDEX_URL')).toBeLessThan(text.indexOf('FROM stack-run'));
    expect(failure({ 'requirements.txt': '', Procfile: 'web: x' }, { 'build-args': 'A\nRUN x;' }).code).toBe('detect.build-args');
  });
});

describe('Python buildpack: decisions', () => {
  it('refuses a version that the stack lacks, and says what there is', () => {
    const error = failure({ 'requirements.txt': '', '.python-version': '3.12.1\n' });
    expect(error.code).toBe('detect.version');
    expect(error.message).toBe(".python-version asks for Python 3.12.1; this server's stack has 3.13");
    expect(failure({ 'requirements.txt': '', 'runtime.txt': 'python-3.9.0' }).message).toContain('runtime.txt asks for Python 3.9.0');
    expect(failure({ 'requirements.txt': '', '.tool-versions': 'node 1\npython 3.14.0' }).code).toBe('detect.version');
    expect(failure({ 'pyproject.toml': '[project]\nrequires-python = "<3.13"' }).code).toBe('detect.version');
    expect(failure({ 'requirements.txt': '', '.python-version': 'pypy3.10' }).code).toBe('detect.version');
  });
  it('has one fetched by uv where a mirror of others is named', () => {
    const mirror: Files = { UV_PYTHON_INSTALL_MIRROR: 'https://mirror.example/python' };
    const { plan, details } = choose({ 'requirements.txt': 'flask', '.python-version': '3.12.4', Procfile: 'web: x' }, mirror);
    expect(plan).toMatchObject({ summary: 'Python 3.12.4 (.python-version), requirements.txt', buildArgs: ['UV_PYTHON_INSTALL_MIRROR'] });
    expect(details[0]).toBe('Python 3.12.4: .python-version asks for it, uv fetches it from where UV_PYTHON_INSTALL_MIRROR says');
    expect(plan.dockerfile).toMatch(/ARG UV_PYTHON_INSTALL_MIRROR\nRUN \S+ \{ [^\n]* python install --no-progress '3\.12\.4' && [^\n]*--python '3\.12\.4' \/opt\/venv; \} \|\|[^\n]*\nCOPY requirements\.txt/);
    expect(plan.dockerfile).toContain('COPY --from=build /opt/python /opt/python\nCOPY --from=build /opt/venv /opt/venv\n');
    expect(plan.dockerfile).not.toContain('mirror.example');
    const uv = dockerfile({ 'pyproject.toml': '[project]\nname="x"\nrequires-python=">=3.11, <3.13"\n', 'uv.lock': '' }, mirror);
    expect(uv).toContain("python install --no-progress '>=3.11,<3.13'");
    expect(uv).toContain('UV_PYTHON=/opt/venv/bin/python');
    expect(uv.match(/-m venv --without-pip \/opt\/uv/g)).toHaveLength(1);
    // the stack's own is taken where it fits, and what uv would not understand is refused
    expect(dockerfile({ 'requirements.txt': '', '.python-version': '3.13' }, mirror)).not.toContain('/opt/python');
    for (const odd of ['pypy3.10', "3.12'; x", '^3.14']) expect(failure({ 'requirements.txt': '', '.python-version': odd }, mirror).code).toBe('detect.version');
    expect(failure({ 'requirements.txt': '', '.python-version': '3.12' }).hint).toContain('config:set <app> UV_PYTHON_INSTALL_MIRROR=https://');
  });
  it('takes another patch level and says so', () => { expect(choose({ 'requirements.txt': '', '.python-version': '3.13.0', Procfile: 'web: x' }).details[0]).toContain("the patch level is the stack's"); });
  it.each([
    ['3.13', true], ['3.13.7', true], ['3', true], ['3.12', false], ['3.14', false], ['>=3.10', true], ['>=3.10,<4', true], ['>=3.14', false], ['<3.13', false], ['<3.13.99', true], ['~=3.12', true], ['~=3.13.1', true], ['~=3.12.1', false],
    ['^3.9', true], ['^3.14', false], ['~3.13', true], ['~3.12', false], ['==3.13.*', true], ['==3.12.*', false], ['!=3.13.*', false], ['!=3.13.2', true], ['*', true], ['>3.12', true], ['>3.13', false], ['2.7', false], ['^2.7 || ^3.10', true], ['nonsense', false], ['>=3.10 <3.14', true],
  ])('%s fits 3.13: %s', (wanted, fits) => { expect(pythonFits(wanted, '3.13')).toBe(fits); });

  it('derives web for Django with gunicorn', () => {
    expect(choose({ ...django, 'requirements.txt': 'Django\nGunicorn[gevent]>=20 ; python_version > "3"' }).plan.processTypes).toEqual({ web: 'gunicorn mysite.wsgi --bind 0.0.0.0:$PORT' });
    expect(choose({ ...django, 'pyproject.toml': '[project]\ndependencies = [\n  "django", # [x]\n  "gunicorn>=2",\n]' }).plan.processTypes).toHaveProperty('web');
    expect(choose({ ...django, 'pyproject.toml': '[project]\n', 'uv.lock': '[[package]]\nname = "gunicorn"\n' }).plan.processTypes).toHaveProperty('web');
  });
  it('says what is missing when there is no Procfile', () => {
    expect(failure({ ...django, 'requirements.txt': 'Django' }).message).toContain('gunicorn is not in requirements.txt');
    expect(failure({ 'requirements.txt': 'flask' })).toMatchObject({ code: 'detect.no-process', fault: 'user' });
  });
  it('finds the project by manage.py, else by the only wsgi.py', () => {
    expect(djangoProject(treeOf({ 'manage.py': "setdefault('DJANGO_SETTINGS_MODULE', 'a.b.settings.dev')", 'a/b/wsgi.py': '', 'c/wsgi.py': '' }))).toBe('a.b');
    expect(djangoProject(treeOf({ 'manage.py': '', 'c/wsgi.py': '' }))).toBe('c');
    expect(djangoProject(treeOf({ 'manage.py': '', 'c/wsgi.py': '', 'd/wsgi.py': '' }))).toBeNull();
  });
  it('collects static files where they are used, unless it is told not to', () => {
    const files = { ...django, 'requirements.txt': 'django', Procfile: 'web: x' };
    expect(dockerfile(files)).toContain('collectstatic');
    expect(dockerfile(files, { DISABLE_COLLECTSTATIC: '1' })).not.toContain('collectstatic');
    expect(dockerfile(files, { DISABLE_COLLECTSTATIC: '0' })).toContain('collectstatic');
    expect(dockerfile({ ...files, 'mysite/settings.py': "'django.contrib.staticfiles'\n# STATIC_ROOT" })).not.toContain('collectstatic');
    expect(dockerfile({ ...files, 'mysite/settings.py': 'STATIC_ROOT=1' })).not.toContain('collectstatic');
    expect(dockerfile({ 'requirements.txt': 'flask' })).not.toContain('collectstatic');
  });
  it('insists on locks', () => {
    for (const files of [{ Pipfile: '' } as Files, { 'Pipfile.lock': '{}' }, { 'uv.lock': '' }, { 'pyproject.toml': '[tool.poetry.dependencies]\n' }]) expect(failure(files).code).toBe('detect.no-lock');
    expect(failure({ Pipfile: '', 'Pipfile.lock': '{' }).code).toBe('detect.lock');
  });
  it('says which lock is not used', () => { expect(choose({ 'requirements.txt': '', 'uv.lock': '', 'pyproject.toml': '', Procfile: 'web: x' }).warnings).toEqual(['uv.lock is not used: requirements.txt decides']); });
  it('leaves a pyproject.toml that only configures tools alone', () => { expect(failure({ 'pyproject.toml': '[tool.ruff]\nline-length = 1\n' }).code).toBe('detect.nothing'); });
  it('follows included requirements, not URLs, not in circles', () => {
    expect(readRequirements(treeOf({ 'requirements.txt': '-r a.txt\n--requirement=sub/b.txt\n-r https://x/y.txt\nflask==1 \\\n  --hash=sha256:x', 'a.txt': '-r requirements.txt\na # c', 'sub/b.txt': '-r ../a.txt\nb @ git+https://x/y#egg=b' }), 'requirements.txt'))
      .toEqual({ files: ['requirements.txt', 'a.txt', 'sub/b.txt'], lines: ['a', 'b @ git+https://x/y#egg=b', 'flask==1    --hash=sha256:x'], local: false });
    for (const line of ['.', './x', '-e .', '/x', 'x @ file:///y', '-f ./wheels', '--find-links=vendor', '--find-links vendor']) expect(readRequirements(treeOf({ 'requirements.txt': line }), 'requirements.txt').local).toBe(true);
    for (const line of ['-e git+https://x/y', 'x', '-f https://x/', '--find-links=https://x/', '--no-binary :all:']) expect(readRequirements(treeOf({ 'requirements.txt': line }), 'requirements.txt').local).toBe(false);
  });
});
