/** where a site, its configuration and its start script lie in the image */
export const SITE = '/site';

/**
 * Run in the build stage, once the site is there (a build may have made it): writes the web server's configuration from what is in
 * the site, `_redirects`, `_headers` and static.json. Rules that nginx can't follow end the build with the line that holds them.
 * Arguments: `root=PATH`, or `find=DIR` where a build put its output somewhere below; `spa=on|off|auto`; `static=PATH` of static.json.
 */
export const SITE_PROGRAM = String.raw`import glob, json, os, re, shutil, sys, urllib.parse

HOME = '${SITE}'
asked = dict(argument.split('=', 1) for argument in sys.argv[1:])
notes = []

def fail(text, hint=None):
    print(' !     ' + text, flush=True)
    if hint: print('       ' + hint, flush=True)
    sys.exit(1)

def quoted(text):
    """a string of nginx's configuration: no variable but those that we put in"""
    return '"' + text.replace('\\', '\\\\').replace('"', '\\"').replace('$', '$' '{dollar}') + '"'

def inside(root, path):
    """the file of a site that a path of a URL means, or None"""
    found = os.path.realpath(os.path.join(root, urllib.parse.unquote(path.split('?')[0]).lstrip('/')))
    if found != root and not found.startswith(root + '/'): return None
    for name in (found, found + '.html', os.path.join(found, 'index.html')):
        if os.path.isfile(name): return name
    return None

class Rule:
    def __init__(self, where, source, target, status=301, force=False, query=()):
        self.where, self.source, self.target, self.status, self.force, self.query = where, source, target, status, force, query

def pattern(source, number, where, encoded):
    """path with * and :name as a regular expression with groups of its own"""
    if not source.startswith('/'): fail(where + ': ' + source + ' is no path of this site', 'paths start with /')
    if re.search(r'[\\"\x00-\x20]', source): fail(where + ': ' + repr(source) + ' has characters that no path has')
    out, names = '', []
    for part in re.split(r'(:[A-Za-z_][A-Za-z0-9_]*|\*\*|\*)', source):
        if part in ('*', '**'):
            out += '(?<r%d_splat>.*)' % number if 'splat' not in names else '.*'
            names.append('splat')
        elif part.startswith(':') and len(part) > 1:
            out += '(?<r%d_%s>[^/]+)' % (number, part[1:])
            names.append(part[1:])
        else: out += re.escape(urllib.parse.quote(part, safe="/@!$&'()+,;=~-._%:") if encoded else urllib.parse.unquote(part))
    # /news/* is /news, too
    if out.endswith('/(?<r%d_splat>.*)' % number): out = out[:-len('/(?<r%d_splat>.*)' % number)] + '(?:/(?<r%d_splat>.*))?' % number
    elif not out.endswith('/') and '*' not in source: out += '/?'
    return out, names

def filled(target, number, names):
    out = ''
    for part in re.split(r'(:[A-Za-z_][A-Za-z0-9_]*)', target):
        if part.startswith(':') and part[1:] in names: out += '$' '{r%d_%s}' % (number, part[1:])
        else: out += part.replace('\\', '\\\\').replace('"', '\\"').replace('$', '$' '{dollar}')
    return out

def lines(path):
    with open(path, encoding='utf-8', errors='replace') as file:
        for number, line in enumerate(file, 1): yield number, line.rstrip('\r\n')

def redirects(path):
    rules = []
    for number, line in lines(path):
        words = re.sub(r'(^|\s)#.*$', '', line).split()
        if not words: continue
        where = '_redirects line %d' % number
        source, rest, query = words[0], words[1:], []
        while rest and re.match(r'[A-Za-z0-9_-]+=:?\S*$', rest[0]) and not rest[0].startswith(('/', 'http')): query.append(rest.pop(0).split('=', 1))
        if not rest: fail(where + ': there is no target', 'one rule a line: /from /to 301')
        target, rest = rest[0], rest[1:]
        status, force = 301, False
        if rest and re.match(r'\d{3}!?$', rest[0]):
            status, force = int(rest[0][:3]), rest[0].endswith('!')
            rest = rest[1:]
        if rest: notes.append(where + ' is left out: this server knows no conditions (' + ' '.join(rest) + ')'); continue
        if re.match(r'https?://', source): notes.append(where + ' is left out: rules are for paths of this site; other hosts are domains of the app'); continue
        if status not in (200, 301, 302, 303, 307, 308, 404, 410): fail(where + ': status %d is not known here' % status, '200, 301, 302, 303, 307, 308, 404 or 410')
        rules.append(Rule(where, source, target, status, force, query))
    return rules

def headers(path):
    rules, current = [], None
    for number, line in lines(path):
        text = re.sub(r'^\s*#.*$', '', line)
        if not text.strip(): continue
        where = '_headers line %d' % number
        if not text[0].isspace():
            current = text.strip()
            continue
        if current is None: fail(where + ': a header stands below a path', '/path, and below it, indented: Name: value')
        name, _, value = text.strip().partition(':')
        if text.strip().startswith('!'): name, value = text.strip()[1:].strip(), ''
        header(rules, where, current, name.strip(), value.strip())
    return rules

def header(rules, where, path, name, value):
    if not re.match(r"[A-Za-z0-9!#%&'*+.^_|~-]+$", name) or re.search(r'[\x00-\x08\x0a-\x1f\x7f]', value): fail(where + ': ' + repr(name) + ' is no header', 'Name: value')
    if name.lower() == 'basic-auth': notes.append(where + ' is left out: Basic-Auth is not done here'); return
    if name.lower() in ('content-length', 'transfer-encoding', 'connection', 'content-encoding', 'date', 'server'): notes.append(where + ' is left out: ' + name + " is the server's own"); return
    same = next((rule for rule in rules if rule[0] == where.split(' line')[0] + path and rule[2].lower() == name.lower()), None)
    # a header twice for one path: both values; of several paths that fit, the last in the file
    if same: same[3] += ', ' + value
    else: rules.append([where.split(' line')[0] + path, path, name, value, where])

def static_json(path):
    try:
        with open(path, encoding='utf-8') as file: said = json.load(file)
    except ValueError as error: fail('static.json: ' + str(error))
    if not isinstance(said, dict): fail('static.json: an object is needed')
    for key in ('proxies', 'basic_auth', 'basic_auth_list'):
        if said.get(key): fail('static.json: ' + key + ' is not done here', 'give the app a server of its own, or take the key out')
    rules, after, heads = [], [], []
    for source, to in (said.get('redirects') or {}).items():
        if not isinstance(to, dict) or not isinstance(to.get('url'), str): fail('static.json: redirects ' + source + ' needs a url')
        rules.append(Rule('static.json redirects ' + source, source, to['url'], int(to.get('status', 302)), True))
    for source, to in (said.get('routes') or {}).items():
        if not isinstance(to, str): fail('static.json: routes ' + source + ' needs the name of a file')
        after.append(Rule('static.json routes ' + source, source, '/' + to.lstrip('/'), 200))
    for source, values in (said.get('headers') or {}).items():
        for name, value in values.items(): header(heads, 'static.json headers ' + source, source, name, str(value))
    return said, rules + after, heads

# ---- the site

if 'find' in asked:
    home = asked['find']
    names = ['dist', 'build', 'out', '_site', '.output/public', 'public']
    found = [path for name in names for path in [name] + sorted(os.path.relpath(deep, home) for deep in glob.glob(os.path.join(home, name, '*', 'browser')) + (glob.glob(os.path.join(home, name, '*')) if name == 'dist' else [])) if os.path.isfile(os.path.join(home, path, 'index.html'))]
    if not found: fail('the build made no index.html in ' + ', '.join(names), 'say where the site is: "root" in static.json; or add a start script, if this app has a server')
    root = os.path.join(home, found[0])
    print('The site is in ' + found[0] + '/', flush=True)
else: root = asked['root']
if not os.path.isfile(os.path.join(root, 'index.html')): fail('there is no index.html in ' + os.path.basename(root.rstrip('/')) + '/', 'say where the site is: "root" in static.json')
www = os.path.realpath(os.path.join(HOME, 'www'))
if os.path.realpath(root) != www: shutil.copytree(root, www, symlinks=True)
said, rules, heads = static_json(asked['static']) if 'static' in asked and os.path.isfile(asked['static']) else ({}, [], [])
if os.path.isfile(os.path.join(www, '_redirects')): rules = redirects(os.path.join(www, '_redirects')) + rules
if os.path.isfile(os.path.join(www, '_headers')): heads = heads + headers(os.path.join(www, '_headers'))
for name in ('_redirects', '_headers', '.berth') + (('static.json', 'app.json', 'Procfile') if asked.get('whole') else ()):
    path = os.path.join(www, name)
    if os.path.isdir(path): shutil.rmtree(path)
    elif os.path.lexists(path): os.remove(path)
missing = said.get('error_page') or '404.html'
if said.get('error_page') and not inside(www, missing): fail('static.json: error_page ' + missing + ' is not in the site')
pages = [name for _, _, files in os.walk(www) for name in files if name.endswith(('.html', '.htm'))]
spa = asked.get('spa', 'auto')
if spa == 'on' or spa == 'auto' and pages == ['index.html'] and not any(rule.source in ('/*', '/**') and rule.status == 200 for rule in rules):
    rules.append(Rule('single page', '/*', '/index.html', 200))
    print('Single page: what is no file is answered with index.html', flush=True)

def branch(number, rule):
    rewrite = rule.status == 200
    variable = '$uri' if rewrite else '$path'
    expression, names = pattern(rule.source, number, rule.where, not rewrite)
    out = []
    if rule.query:
        for name, value in rule.query:
            if not re.match(r'[A-Za-z0-9_]+$', name): fail(rule.where + ': ' + name + ' is no name of a parameter')
            if value.startswith(':'):
                expression += r'\?(?<r%d_%s>[^?]+)' % (number, value[1:])
                names.append(value[1:])
            else: expression += r'\?' + re.escape(value)
        out.append('set $asked "%s";' % (variable + ''.join('?$' '{arg_%s}' % name for name, _ in rule.query)))
        variable = '$asked'
    external = re.match(r'https?://', rule.target)
    if not external and not rule.target.startswith('/'): fail(rule.where + ': ' + rule.target + ' is no target', 'a path of this site, or https://...')
    target = filled(rule.target, number, names)
    if rewrite:
        if external: fail(rule.where + ': this server does not fetch pages of others (status 200 with a URL)', 'redirect with 301 or 302, or give the app a server of its own')
        if ':' not in rule.target and not inside(www, rule.target): fail(rule.where + ': ' + rule.target + ' is not in the site')
        does = 'rewrite ^ "%s" last;' % target
    elif rule.status in (404, 410): does = 'return %d;' % rule.status
    else: does = 'return %d "%s";' % (rule.status, target + ('' if '?' in rule.target or rule.query else '$is_args$args'))
    out.append('if (%s ~ "^%s$") { %s }' % (variable, expression.replace('"', '\\"'), does))
    return out

first, last = [], []
for number, rule in enumerate(rules): (first if rule.force else last).extend(branch(number, rule))

maps, adds = [], []
for number, name in enumerate(dict.fromkeys(rule[2].lower() for rule in heads)):
    mine = [rule for rule in heads if rule[2].lower() == name]
    cache = name == 'cache-control'
    # nginx takes the first that fits: the last of the file is asked first
    tests = ['    "~^%s$" %s;' % (re.sub(r'\?<r\d+_\w+>', '?:', pattern(path, 0, where, True)[0]), quoted(value)) for _, path, _, value, where in reversed(mine)]
    variable = '$cache' if cache else '$header%d' % number
    maps.append('map $path %s {\n    default %s;\n%s\n  }' % (variable, '$cache_by_name' if cache else '""', '\n'.join(tests)))
    if not cache: adds.append('add_header %s %s always;' % (mine[0][2], variable))
if not any(rule[2].lower() == 'cache-control' for rule in heads): maps.append('map $path $cache { default $cache_by_name; }')

https = ['if ($http_x_forwarded_proto = "http") { return 301 "https://$host$request_uri"; }'] if said.get('https_only') else []
conf = '''daemon off;
pid /tmp/nginx.pid;
error_log stderr warn;
worker_processes @WORKERS@;
events { worker_connections 1024; }
http {
  include /etc/nginx/mime.types;
  types { application/manifest+json webmanifest; text/javascript mjs; text/markdown md; application/geo+json geojson; }
  default_type application/octet-stream;
  charset utf-8;
  charset_types text/html text/css text/plain text/javascript application/javascript application/json text/markdown application/manifest+json;
  log_format requests '$http_x_forwarded_for "$request" $status $body_bytes_sent $request_time "$http_user_agent"';
  access_log /dev/stdout requests;
  client_body_temp_path /tmp/nginx-body; proxy_temp_path /tmp/nginx-proxy; fastcgi_temp_path /tmp/nginx-fastcgi; uwsgi_temp_path /tmp/nginx-uwsgi; scgi_temp_path /tmp/nginx-scgi;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 75s;
  server_tokens off;
  absolute_redirect off;
  gzip on;
  gzip_static on;
  gzip_vary on;
  gzip_proxied any;
  gzip_min_length 512;
  gzip_types text/plain text/css text/xml text/javascript text/markdown application/javascript application/json application/manifest+json application/geo+json application/xml application/rss+xml application/atom+xml application/wasm image/svg+xml font/ttf font/otf;
  map_hash_bucket_size 512;
  variables_hash_max_size 4096;
  geo $dollar { default "$"; }
  map $request_uri $path { default $request_uri; "~^(?<bare>[^?]*)\\?" $bare; }
  # names that change with their content may be kept for ever, all else is asked for again
  map $uri $cache_by_name {
    default "public, max-age=0, must-revalidate";
    "~\\.html?$" "public, max-age=0, must-revalidate";
    "~^/(?:_next/static|_astro|_nuxt|_app/immutable)/" "public, max-age=31536000, immutable";
    "~^/(?:assets|static|build|_assets)/(?:.*/)?[^/]*[.-](?=[^/.]*[0-9A-Z])[A-Za-z0-9_-]{8,}\\.[a-z0-9.]+$" "public, max-age=31536000, immutable";
    "~[._-](?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\\.[a-z0-9.]+$" "public, max-age=31536000, immutable";
  }
  MAPS
  server {
    listen @PORT@;
    root HOME/www;
    index index.html;
    set $rewritten "";
    set $asked "";
    add_header Cache-Control $cache always;
    add_header X-Content-Type-Options nosniff always;
    ADDS
    FIRST
    MISSING
    if (-f $request_filename/index.html) { rewrite ^(.*[^/])$ $1/ permanent; }
    location ~ /\\.(?!well-known(?:/|$)) { return 404; }
    location / { try_files $uri $uri.html $uri/index.html @rules; }
    location @rules {
      if ($rewritten) { return 404; }
      set $rewritten 1;
      LAST
      return 404;
    }
  }
}
'''
put = {'MAPS': '\n  '.join(maps), 'ADDS': '\n    '.join(adds), 'FIRST': '\n    '.join(https + first), 'LAST': '\n      '.join(last), 'HOME': HOME, 'MISSING': 'error_page 404 410 ' + quoted('/' + missing.lstrip('/')) + ';' if inside(www, missing) else ''}
conf = re.sub(r'\b(MAPS|ADDS|FIRST|LAST|HOME|MISSING)\b', lambda match: put[match.group(1)], conf)
if any(rule[2].lower() == 'x-content-type-options' for rule in heads): conf = conf.replace('    add_header X-Content-Type-Options nosniff always;\n', '')
with open(os.path.join(HOME, 'nginx.conf'), 'w', encoding='utf-8') as file: file.write(conf)
with open(os.path.join(HOME, 'serve'), 'w') as file: file.write('''#!/bin/sh
case "$PORT" in ''|*[!0-9]*) PORT=5000 ;; esac
case "$WEB_CONCURRENCY" in ''|*[!0-9]*) WEB_CONCURRENCY=2 ;; esac
sed "s/@PORT@/$PORT/; s/@WORKERS@/$WEB_CONCURRENCY/" HOME/nginx.conf > /tmp/nginx.conf && exec nginx -e stderr -c /tmp/nginx.conf "$@"
'''.replace('HOME', HOME))
os.chmod(os.path.join(HOME, 'serve'), 0o755)
for note in notes: print(' !     ' + note, flush=True)
print('%d files%s%s' % (sum(len(files) for _, _, files in os.walk(www)), ', %d redirects and rewrites' % len(rules) if rules else '', ', %d headers' % len(heads) if heads else ''), flush=True)
`;
