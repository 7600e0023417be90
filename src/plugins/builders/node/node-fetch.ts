/** where Node.js, its headers and the package managers lie in the build stage */
export const NODE = '/opt/node';

/**
 * Run in the build stage, where there is no Node yet: takes Node.js and package managers out of the npm registry. The versions are
 * chosen here and not in the plan, which must not depend on what the registry holds today; every archive is checked against the
 * registry's digest. Arguments: `name=range` with ranges as `semver` writes them (comparators only), see `nodeLayer`.
 */
export const NODE_FETCH = String.raw`import base64, hashlib, io, json, os, re, shutil, sys, tarfile, time, urllib.error, urllib.request

ROOT = '${NODE}'
REGISTRY = (os.environ.get('NPM_CONFIG_REGISTRY') or os.environ.get('npm_config_registry') or 'https://registry.npmjs.org').rstrip('/')
ARCH = {'x86_64': 'x64', 'aarch64': 'arm64'}.get(os.uname().machine)

def fail(text, hint=None):
    print(' !     ' + text, flush=True)
    if hint: print('       ' + hint, flush=True)
    sys.exit(1)

def get(url, accept='*/*'):
    for left in (3, 2, 1, 0):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers={'Accept': accept, 'User-Agent': 'berth'}), timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404: fail(url + ' is not in the registry')
            reason = 'HTTP ' + str(error.code)
        except OSError as error:
            reason = str(getattr(error, 'reason', error))
        if left: time.sleep(4 - left)
    fail('the npm registry can not be reached: ' + url + ': ' + reason, 'the server needs ' + REGISTRY + ', or a mirror named by NPM_CONFIG_REGISTRY')

def triple(version):
    match = re.match(r'(\d+)\.(\d+)\.(\d+)(-.*)?$', version)
    return (tuple(int(part) for part in match.groups()[:3]), match.group(4)) if match else (None, None)

def fits(version, wanted):
    """wanted: comparators joined by spaces, alternatives by ||; a prerelease fits only where it is named itself"""
    mine, pre = triple(version)
    if mine is None: return False
    for alternative in wanted.split('||'):
        parts = alternative.split()
        if pre:
            if parts in ([version], ['=' + version]): return True
            continue
        for part in parts:
            operator, bound = re.match(r'(>=|<=|>|<|=)?(.*)$', part).groups()
            if bound in ('', '*'): continue
            other, before = triple(bound)
            if other is None: break
            # what is released is above every prerelease of the same number
            ok = {'>=': mine >= other, '>': mine > other or mine == other and bool(before), '<': mine < other, '<=': mine < other or mine == other and not before}.get(operator or '=', mine == other and not before)
            if not ok: break
        else: return True
    return False

def newest(versions): return max(versions, key=lambda version: (triple(version)[0], triple(version)[1] is None))

def take(package, wanted, title, says, prefer=None):
    found = json.loads(get(REGISTRY + '/' + package.replace('/', '%2f'), 'application/vnd.npm.install-v1+json'))['versions']
    can = [version for version in found if fits(version, wanted)]
    if not can:
        lines = {}
        for version in found:
            if triple(version)[0] and not triple(version)[1]: lines.setdefault(triple(version)[0][0], []).append(version)
        fail('there is no ' + title + ' ' + says, 'newest of each line: ' + ', '.join(newest(lines[major]) for major in sorted(lines)[-10:]))
    version = newest([version for version in can if prefer and fits(version, prefer)] or can)
    return version, found[version]['dist']

def check(data, dist, what):
    if dist.get('integrity'):
        # several digests may be named: the strongest decides
        digests = dict(word.split('-', 1) for word in dist['integrity'].split())
        kind = next((kind for kind in ('sha512', 'sha384', 'sha256', 'sha1') if kind in digests), None)
        if kind and base64.b64encode(hashlib.new(kind, data).digest()).decode() == digests[kind].split('?')[0]: return
    elif hashlib.sha1(data).hexdigest() == dist.get('shasum'): return
    fail(what + ' is not what the registry says it is: the digest differs', 'a proxy or mirror between here and ' + REGISTRY + ' changed it')

def unpack(data, target, leave=()):
    with tarfile.open(fileobj=io.BytesIO(data), mode='r:gz') as archive:
        for member in archive:
            parts = [part for part in member.name.split('/') if part not in ('', '.')][1:]
            if not member.isfile() or not parts or '..' in parts or parts[0] in leave: continue
            path = os.path.join(target, *parts)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with archive.extractfile(member) as source, open(path, 'wb') as file: shutil.copyfileobj(source, file)
            os.chmod(path, 0o755 if member.mode & 0o111 else 0o644)

def link(name, target):
    path = os.path.join(ROOT, 'bin', name)
    if os.path.lexists(path): os.remove(path)
    os.chmod(os.path.join(ROOT, 'bin', target), 0o755)
    os.symlink(target, path)

asked = dict(argument.split('=', 1) for argument in sys.argv[1:])
if ARCH is None: fail('Node.js is there for x86_64 and aarch64 only, not for ' + os.uname().machine)
if 'node' in asked:
    version, dist = take('node-linux-' + ARCH, asked['node'], 'Node.js', asked['says'], asked.get('prefer'))
    data = get(dist['tarball'])
    check(data, dist, 'Node.js ' + version)
    unpack(data, ROOT, ('share', 'CHANGELOG.md', 'README.md', 'package.json'))
    print('Node.js ' + version, flush=True)
    major = triple(version)[0][0]
def bun():
    # the plain one stops with an illegal instruction where the processor is older
    with open('/proc/cpuinfo') as file: old = ARCH == 'x64' and 'avx2' not in file.read()
    return '@oven/bun-linux-' + {'x64': 'x64', 'arm64': 'aarch64'}[ARCH] + ('-baseline' if old else '')

managers = {'npm': 'npm', 'pnpm': 'pnpm', 'yarn': 'yarn', 'berry': '@yarnpkg/cli-dist', 'bun': bun()}
for name, package in managers.items():
    if name not in asked: continue
    prefer = asked.get(name + '-prefer')
    # the line of npm that came with this line of Node
    if prefer == 'own': prefer = next(text for least, text in ((24, '>=11.0.0 <12.0.0-0'), (18, '>=10.0.0 <11.0.0-0'), (12, '>=8.0.0 <9.0.0-0'), (0, '>=6.0.0 <7.0.0-0')) if major >= least)
    version, dist = take(package, asked[name], name.replace('berry', 'yarn'), asked.get(name + '-says', asked[name]), prefer)
    data = get(dist['tarball'])
    check(data, dist, name + ' ' + version)
    home = os.path.join(ROOT, 'lib/node_modules', name.replace('berry', 'yarn'))
    unpack(data, home)
    with open(os.path.join(home, 'package.json')) as file: bins = json.load(file).get('bin', {})
    if name == 'bun': bins = {'bun': 'bin/bun', 'bunx': 'bin/bun'}
    if name + '-hash' in asked:
        kind, digest = asked[name + '-hash'].split('.', 1)
        # corepack's: of the program for Yarn 2 and later, of the archive for the others
        if name == 'berry':
            with open(os.path.join(home, 'bin/yarn.js'), 'rb') as file: data = file.read()
        if hashlib.new(kind, data).hexdigest() != digest: fail('packageManager names another digest than that of ' + name.replace('berry', 'yarn') + ' ' + version)
    for command, path in bins.items(): link(command, '../lib/node_modules/' + name.replace('berry', 'yarn') + '/' + os.path.normpath(path))
    print(name.replace('berry', 'yarn') + ' ' + version, flush=True)
`;
