import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { Poller, eventsOf, refuses, sshing, succeeds } from './berth.kit.js';
import { Terminal } from './terminal.js';

/** PostgreSQL and Redis from the distribution's packages, and an app that writes and reads with what it is linked to. */
let berth: Fixture;

const APP = `import os, json, socket, threading, time
from urllib.parse import urlsplit
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def sql(words, *values):
    import psycopg
    with psycopg.connect(os.environ['DATABASE_URL'], connect_timeout=5) as db:
        db.execute('create table if not exists notes (id serial primary key, text text not null)')
        rows = db.execute(words, values)
        return [row[0] for row in rows] if rows.description else []

def kv():
    import redis
    return redis.Redis.from_url(os.environ['REDIS_URL'], decode_responses=True)

def one_more():
    import psycopg
    with psycopg.connect(os.environ['DATABASE_URL'], connect_timeout=5) as db:
        if db.execute("select to_regclass('watch')").fetchone()[0] is None: return False
    if 'REDIS_URL' in os.environ:
        cache = kv()
        cache.ping()
        cache.close()
    return True

# a connection that stays open, and is not opened anew by any library
def held_open():
    url = urlsplit(os.environ['REDIS_URL'])
    held = socket.create_connection((url.hostname, url.port), 5)
    held.sendall(f'AUTH {url.password}\\r\\n'.encode())
    if held.recv(100) != b'+OK\\r\\n': raise Exception('the password is refused')
    return held

# new connections all the time, as long as there is a table watch, and one that stays
def watch():
    held = None
    for n in range(1000000):
        try:
            if not one_more(): return
            if 'REDIS_URL' in os.environ:
                held = held or held_open()
                held.sendall(b'PING\\r\\n')
                if held.recv(100) != b'+PONG\\r\\n': raise Exception('an open connection was closed')
            if n % 10 == 0: print('let in', os.uname().nodename, n, flush=True)
        except Exception as error:
            print('NOT LET IN', os.uname().nodename, type(error).__name__, str(error).replace('\\n', ' '), flush=True)
        time.sleep(0.05)

if os.environ.get('BREAK'): raise SystemExit('broken on purpose')
if 'DATABASE_URL' in os.environ: threading.Thread(target=watch, daemon=True).start()

class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        path, _, what = self.path.partition('?')
        try:
            if path == '/': body = ' '.join(sorted(key for key in os.environ if key.endswith('_URL'))) or 'nothing'
            elif path == '/note': sql('insert into notes (text) values (%s)', what); body = 'ok'
            elif path == '/notes': body = ','.join(sql('select text from notes order by id'))
            elif path == '/watch': print('watching', what, flush=True); sql('create table if not exists watch (n int)'); threading.Thread(target=watch, daemon=True).start(); body = 'ok'
            elif path == '/set': kv().set('what', what); body = 'ok'
            elif path == '/get': body = kv().get('what') or ''
            else: body = ''
            code = 200
        except Exception as error:
            code, body = 500, repr(error)
        self.send_response(code); self.end_headers(); self.wfile.write(body.encode())
    def log_message(self, *args): pass

ThreadingHTTPServer(('', int(os.environ['PORT'])), Page).serve_forever()
`;

async function ok(args: readonly string[], options: { stdin?: string | Buffer; timeoutMs?: number } = {}): Promise<string> {
  const { out } = await succeeds(berth, args, { timeoutMs: 280_000, ...options });
  return out;
}
const refused = (args: readonly string[], options: { stdin?: string | Buffer } = {}): Promise<string> => refuses(berth, args, { timeoutMs: 120_000, ...options });
const get = async (path: string): Promise<string> => {
  const { status, body } = await berth.http('shop', path);
  expect(status, body).toBe(200);
  return body;
};
/** A binary file out of a command: the kit's cli speaks text. */
async function exported(service: string, file: string): Promise<string> {
  const path = join(berth.root, 'work', file);
  const { code, err } = await berth.sh(`"$BERTH" ${service} > "${path}"`);
  expect(code, err).toBe(0);
  return path;
}
const containersOf = async (type: string, name: string): Promise<{ Id: string; Names: string[]; State: string }[]> => {
  const { id } = await berth.json<{ id: string }>([`${type}:info`, name]);
  return berth.engine('GET', `/containers/json?all=1&filters=${encodeURIComponent(JSON.stringify({ label: [`berth.service=${id}`] }))}`);
};

const dsnOf = async (name: string, type = 'postgres'): Promise<string> => (await berth.json<{ dsn: string }>([`${type}:info`, name])).dsn;
/** The password of before is let in no longer. */
const retired = (name: string, type = 'postgres'): Promise<unknown> => berth.until('the old password to be shut out', async () => (await berth.cli([`${type}:info`, name, '--old-password'])).out === '-\n', 90_000);
/** What the server says to who comes with that DSN; nothing to who is let in. */
async function letIn(name: string, dsn: string): Promise<string> {
  const { code, err } = await berth.cli(['postgres:enter', name, 'psql', '-X', '-q', '-o', '/dev/null', '-c', 'select 1', dsn]);
  return code === 0 ? '' : err;
}
/** The app's connections, that were opened one after the other: of two containers at least, and none was refused. */
async function quiet(mark: string): Promise<void> {
  const all = (await ok(['logs', 'shop', '-n', '5000'])).split('\n');
  const lines = all.slice(all.findIndex((line) => line.endsWith(`watching ${mark}`)));
  expect(new Set(lines.flatMap((line) => / let in (\S+) \d+$/.exec(line)?.[1] ?? [])).size).toBeGreaterThan(1);
  expect(lines.filter((line) => line.includes('NOT LET IN'))).toEqual([]);
}

beforeAll(async () => {
  berth = await startBerth();
  const dir = await berth.repo({ 'app.py': APP, 'requirements.txt': 'psycopg[binary]\nredis\n', Procfile: 'web: python app.py\n' });
  const { code, output } = await berth.push(dir, 'shop');
  expect(code, output).toBe(0);
});
afterAll(async () => {
  await berth.stop();
  expect(await berth.owned()).toEqual({ containers: [], networks: [], volumes: [], images: [] });
});

describe('PostgreSQL', () => {
  it('is made and wired in one go, and no request is dropped', async () => {
    expect(await get('/')).toBe('nothing');
    const poller = new Poller(berth, 'shop', true);
    const out = await ok(['postgresql:create', 'shop']);
    await poller.stop();
    expect(out).toMatch(/-----> Creating PostgreSQL service shop[\s\S]*PostgreSQL 17\.\d+ is ready[\s\S]*Application deployed: shop v2[\s\S]*DSN: postgres:\/\/shop:[0-9a-f]{32}@berth-postgres-shop:5432\/shop\n[\s\S]*shop has it as DATABASE_URL/);
    expect(poller.failures).toEqual([]);
    expect(await get('/note?first')).toBe('ok');
    expect(await get('/notes')).toBe('first');
    expect(await ok(['--quiet', 'postgres:list'])).toBe('shop\n');
    expect(await berth.json(['postgres:info', 'shop'])).toMatchObject({ status: 'running', links: 'shop', 'exposed-ports': '-' });
    expect(await ok(['postgresql:links', 'shop'])).toBe('shop\n');
    expect(await ok(['postgres:app-links', 'shop'])).toBe('shop\n');
    // no secret in the log, nor in what the engine shows
    const { dsn } = await berth.json<{ dsn: string }>(['postgres:info', 'shop']);
    const password = new URL(dsn).password;
    const [container] = await containersOf('postgres', 'shop');
    expect(JSON.stringify(await berth.engine('GET', `/containers/${container!.Id}/json`))).not.toContain(password);
    expect(JSON.stringify(await eventsOf(berth, '-n', '500'))).not.toContain(password);
  });

  it('is exported, imported into another one, and cloned', async () => {
    const dump = await exported('postgres:export shop', 'shop.dump');
    expect(readFileSync(dump).subarray(0, 5).toString()).toBe('PGDMP');
    await ok(['postgres:create', 'second', '--memory', '256m']);
    expect(await ok(['postgres:import', 'second'], { stdin: readFileSync(dump) })).toContain('Imported');
    expect(await ok(['postgres:connect', 'second', '-At'], { stdin: 'select text from notes' })).toBe('first\n');
    await ok(['postgres:clone', 'shop', 'third']);
    expect(await ok(['postgres:connect', 'third', '-At'], { stdin: 'select text from notes' })).toBe('first\n');
  });

  it('gets an alias as an app\'s second database, and the first place by promote', async () => {
    expect(await ok(['postgres:link', 'second', 'shop'])).toContain('Linking second to shop as POSTGRES_AQUA_URL');
    expect(await get('/')).toBe('DATABASE_URL POSTGRES_AQUA_URL');
    await ok(['postgres:connect', 'second'], { stdin: "insert into notes (text) values ('in second')" });
    await ok(['postgres:promote', 'second', 'shop']);
    expect(await get('/notes')).toBe('first,in second');
    await ok(['postgres:promote', 'shop', 'shop']);
    expect(await get('/notes')).toBe('first');
    await ok(['postgres:unlink', 'second', 'shop']);
    expect(await get('/')).toBe('DATABASE_URL');
  });

  it('keeps its data through restart, stop and start, pause, upgrade and limits', async () => {
    await ok(['postgres:restart', 'shop']);
    await ok(['postgres:stop', 'shop']);
    expect(await berth.json(['postgres:info', 'shop'])).toMatchObject({ status: 'stopped' });
    expect(await containersOf('postgres', 'shop')).toEqual([]);
    expect(await refused(['postgres:export', 'shop'])).toContain('does not run');
    await ok(['postgres:start', 'shop']);
    await ok(['postgres:pause', 'shop']);
    expect((await containersOf('postgres', 'shop')).map(({ State }) => State)).toEqual(['exited']);
    await ok(['postgres:start', 'shop']);
    await ok(['postgres:set', 'shop', 'memory', '512m']);
    expect(await get('/note?again')).toBe('ok');
    const id = (await containersOf('postgres', 'shop'))[0]!.Id;
    const inspected = await berth.engine<{ HostConfig: { Memory: number } }>('GET', `/containers/${id}/json`);
    expect(inspected.HostConfig.Memory).toBe(512 << 20);
  });

  it('gets another password while new connections come all the time: none is refused, and in the end the old one is', async () => {
    await get('/watch?postgres');
    const before = await dsnOf('shop');
    expect(await ok(['postgres:rotate', 'shop'])).toMatch(/has another password; the one before is let in as well[\s\S]*DSN: postgres:\/\/shop_2:[0-9a-f]{32}@berth-postgres-shop:5432\/shop\n/);
    await retired('shop');
    await quiet('postgres');
    expect(await letIn('shop', before)).toMatch(/authentication failed|not permitted to log in/);
    expect(await letIn('shop', await dsnOf('shop'))).toBe('');
    // whoever logs in, what is made is the first one's
    await get('/note?more');
    await ok(['postgres:connect', 'shop'], { stdin: 'drop table watch' });
    expect(await ok(['postgres:connect', 'shop', '-At', '-c', "select tableowner from pg_tables where schemaname = 'public'"])).toBe('shop\n');
    expect(JSON.stringify(await eventsOf(berth, '-n', '500'))).not.toContain(new URL(before).password);
  });

  it('lets the old password in while an app cannot be deployed with the new one, says why, and shuts it out when it can', async () => {
    await ok(['config:set', '--no-restart', 'shop', 'BREAK=yes', `COPY=${await dsnOf('shop')}`]);
    const before = await dsnOf('shop');
    await refused(['postgres:rotate', 'shop']);
    const failed = (await berth.json<{ deploy: number }[]>(['deploys', 'shop', '-n', '1']))[0]!.deploy;
    expect(await get('/notes')).toBe('first,again,more');
    expect(await ok(['postgres:info', 'shop', '--old-password'])).toBe('still valid: app shop has it in its config var COPY\n');
    await ok(['config:unset', '--no-restart', 'shop', 'COPY']);
    expect(await ok(['postgres:info', 'shop', '--old-password'])).toBe(`still valid: app shop's deploy ${failed} failed\n`);
    expect((await berth.cli(['doctor'])).out).toContain(`postgres:shop: old password still valid: app shop's deploy ${failed} failed`);
    expect(await refused(['postgres:rotate', 'shop'])).toContain('still valid');
    expect(await letIn('shop', before)).toBe('');
    await ok(['config:unset', 'shop', 'BREAK']);
    await retired('shop');
    expect(await letIn('shop', before)).toMatch(/authentication failed|not permitted to log in/);
    expect(await get('/notes')).toBe('first,again,more');
    // in the wrong hands: at once
    const leaked = await dsnOf('shop');
    const { code, err } = await berth.cli(['postgres:rotate', 'shop', '--now'], { timeoutMs: 120_000 });
    expect(code, err).toBe(0);
    expect(err).toContain('The password before is refused from now on; new connections of shop fail until its deploy is live');
    expect(await ok(['postgres:info', 'shop', '--old-password'])).toBe('-\n');
    expect(await letIn('shop', leaked)).toMatch(/authentication failed|not permitted to log in/);
    expect(await get('/notes')).toBe('first,again,more');
  });

  it('comes back when its container dies or is removed', async () => {
    const [before] = await containersOf('postgres', 'shop');
    await berth.engine('POST', `/containers/${before!.Id}/kill`);
    await berth.until('the database', async () => (await berth.http('shop', '/notes')).body === 'first,again,more', 60_000);
    await berth.engine('DELETE', `/containers/${before!.Id}?force=1`);
    await berth.until('another container', async () => (await berth.http('shop', '/notes')).body === 'first,again,more' && (await containersOf('postgres', 'shop'))[0]?.Id !== before!.Id, 90_000);
    await berth.until('the end of its repair', async () => (await berth.json<{ status: string }[]>(['operations', 'postgres:shop', '-n', '1']))[0]!.status === 'succeeded');
  });

  it('has a client and a shell at a terminal, here and over SSH', async () => {
    const berthCommand = (await berth.sh('printf %s "$BERTH"')).out;
    const psql = new Terminal(berth, `${berthCommand} postgres:connect shop`, { rows: 33, columns: 99 });
    await psql.sees(/shop=[#>] $/);
    psql.type('select 40 + 2 as answer;\r');
    await psql.sees(/ {5}42\r\n/);
    psql.type('\\q\r');
    expect(await psql.exit()).toBe(0);

    const shell = new Terminal(berth, `ssh -t ${berth.sshOptions.map((word) => `'${word}'`).join(' ')} root@127.0.0.1 postgres:enter shop`, { rows: 33, columns: 99 });
    await shell.sees(/[#$] $/);
    shell.type('stty size; echo "kind: $TERM"\r');
    await shell.sees(/33 99\r\nkind: xterm-256color/);
    shell.type('sleep 1000\r');
    await shell.sees(/sleep 1000\r\n/);
    shell.type('\x03');
    await shell.sees(/[#$] $/);
    shell.type('exit 7\r');
    expect(await shell.exit()).toBe(7);

    // a window that is closed leaves nothing behind in the container
    const left = new Terminal(berth, `${berthCommand} postgres:enter shop`, { rows: 24, columns: 80 });
    await left.sees(/[#$] $/);
    const [container] = await containersOf('postgres', 'shop');
    const shells = async (): Promise<number> => (await berth.engine<{ Processes: string[][] }>('GET', `/containers/${container!.Id}/top`)).Processes.filter((row) => /^(?:bash|sh)$/.test(row.at(-1)!)).length;
    expect(await shells()).toBe(1);
    left.close();
    await berth.until('no shell', async () => (await shells()) === 0, 30_000);
    await left.exit();
  });

  it('listens on a port of the server when it is exposed', async () => {
    const port = Number(/on port (\d+)/.exec(await ok(['postgres:expose', 'shop']))![1]);
    const { dsn } = await berth.json<{ dsn: string }>(['postgres:info', 'shop']);
    const { Client } = await import('pg');
    const client = new Client({ connectionString: dsn.replace('berth-postgres-shop:5432', `127.0.0.1:${port}`) });
    await client.connect();
    expect((await client.query('select text from notes order by id')).rows).toEqual([{ text: 'first' }, { text: 'again' }, { text: 'more' }]);
    await client.end();
    await ok(['postgres:unexpose', 'shop']);
    expect(await containersOf('postgres', 'shop')).toHaveLength(1);
  });

  it('tells what cannot be', async () => {
    expect(await refused(['postgres:create', 'shop'])).toContain('exists already');
    expect(await refused(['postgres:create', 'Sh op'])).toContain('will not do');
    expect(await refused(['postgres:link', 'shop', 'shop'])).toContain('linked to shop as DATABASE_URL already');
    expect(await refused(['postgres:link', 'nothing', 'shop'])).toContain('does not exist');
    expect(await refused(['postgres:link', 'second', 'nothing'])).toContain('App nothing does not exist');
    expect(await refused(['postgres:unlink', 'second', 'shop'])).toContain('is not linked');
    expect(await refused(['postgres:destroy', 'shop', '--confirm', 'shop'])).toContain('is linked to shop');
    expect(await refused(['postgres:destroy', 'second', '--confirm', 'secnod'])).toContain('did not match');
    expect(await refused(['postgres:upgrade', 'second', '--image-version', '16'])).toContain('may not be able to read the data');
    // dumps that are none, of another version, or cut off: the data of before is still there
    const dump = readFileSync(join(berth.root, 'work/shop.dump'));
    expect(await refused(['postgres:import', 'second'], { stdin: 'select 1' })).toContain('no dump of PostgreSQL');
    expect(await refused(['postgres:import', 'second'], { stdin: '' })).toContain('nothing came');
    const newer = Buffer.from(dump);
    newer[6] = 99;
    expect(await refused(['postgres:import', 'second'], { stdin: newer })).toContain('unsupported version');
    for (const part of [0.3, 0.6, 0.95]) expect(await refused(['postgres:import', 'second'], { stdin: dump.subarray(0, Math.floor(dump.length * part)) })).toMatch(/pg_restore ended with 1/);
    expect(await ok(['postgres:connect', 'second', '-At'], { stdin: 'select text from notes order by id' })).toBe('first\nin second\n');
    expect((await eventsOf(berth, '--type', 'ServiceImported')).length).toBe(1);
  });

  it('is destroyed with a last dump', async () => {
    await ok(['postgres:destroy', 'third', '--confirm', 'third', '--no-dump']);
    const out = await ok(['postgres:destroy', 'second', '--confirm', 'second']);
    const file = /Took a last dump: (\S+)/.exec(out)![1]!;
    expect(readFileSync(file).subarray(0, 5).toString()).toBe('PGDMP');
    expect((await berth.cli(['postgres:exists', 'second'])).code).toBe(20);
    expect((await berth.owned()).volumes).toHaveLength(1);
  });
});

describe('Redis', () => {
  it('is made, linked, exported, imported into another one, upgraded, and rotated', async () => {
    expect(await ok(['redis:create', 'cache', '--app', 'shop'])).toMatch(/Redis 8\.\d[\s\S]*DSN: redis:\/\/:[0-9a-f]{32}@berth-redis-cache:6379[\s\S]*shop has it as REDIS_URL/);
    expect(await get('/set?blue')).toBe('ok');
    const dump = await exported('redis:export cache', 'cache.rdb');
    await ok(['redis:create', 'other', '--password'], { stdin: 'a-password-of-mine\n' });
    expect(await ok(['redis:info', 'other', '--dsn'])).toBe('redis://:a-password-of-mine@berth-redis-other:6379\n');
    await ok(['redis:import', 'other'], { stdin: readFileSync(dump) });
    expect(await ok(['redis:connect', 'other', 'get', 'what'])).toBe('blue\n');
    await ok(['redis:connect', 'other', 'set', 'what', 'green']);
    expect(await refused(['redis:import', 'other'], { stdin: readFileSync(dump).subarray(0, -60) })).toMatch(/ended with 1/);
    expect(await refused(['redis:import', 'other'], { stdin: 'PGDMP but not of this type' })).toContain('no dump of Redis');
    // while an operation is at it, people may look; a dump could be cut off
    const worker = berth.program('service-1');
    await worker.down();
    await ok(['redis:restart', 'other', '--detach']);
    expect(await ok(['redis:connect', 'other', 'get', 'what'])).toBe('green\n');
    expect(await refused(['redis:export', 'other'])).toMatch(/Operation \d+ of redis service other is running/);
    worker.start();
    await ok(['operations:follow', 'redis:other']);
    expect(await ok(['redis:connect', 'other', 'get', 'what'])).toBe('green\n');
    await get('/watch?redis');
    const before = new URL(await dsnOf('cache', 'redis')).password;
    await ok(['redis:rotate', 'cache']);
    await retired('cache', 'redis');
    await quiet('redis');
    expect((await berth.cli(['redis:enter', 'cache', 'redis-cli', '-e', '-a', before, '--no-auth-warning', 'ping'])).code).not.toBe(0);
    // the engine starts its container anew by itself
    await berth.engine('POST', `/containers/${(await containersOf('redis', 'cache'))[0]!.Id}/restart?t=5`);
    await berth.until('the cache', async () => (await berth.http('shop', '/get')).body === 'blue', 60_000);
    await ok(['postgres:connect', 'shop'], { stdin: 'drop table watch' });
    await ok(['redis:destroy', 'other', '--confirm', 'other']);
  });
});

describe('SIGKILL of the worker', () => {
  interface Row { operation: number; status: string; steps: { step: string; attempt: number; status: string }[] }
  /** Kills the worker when it has begun that step; answers the operation when it is over. */
  async function killedIn(step: string, args: readonly string[], group: string): Promise<Row> {
    const tail = sshing(berth, 'events -t -n 1 --type OperationStepStarted --format json');
    try {
      await tail.says(/\n/);
      const before = (await berth.json<Row[]>(['operations', group]).catch(() => [])).length;
      const asked = ok([...args, '--detach']);
      await tail.says(new RegExp(`"step":"${step}"`));
      berth.kill('service-1');
      await asked;
      return await berth.until('its end', async () => {
        const rows = await berth.json<Row[]>(['operations', group]);
        return rows.length > before && rows[0]!.status !== 'running' && rows[0]!.status !== 'waiting' && rows[0]!;
      }, 120_000);
    } finally {
      tail.kill();
    }
  }

  it.skipIf(process.env['BERTH_SERVICES'] !== 'all')('in the image step, which makes it anew', async () => {
    const row = await killedIn('image', ['redis:upgrade', 'cache'], 'redis:cache');
    expect(row.steps).toMatchObject([{ step: 'image', attempt: 2, status: 'succeeded' }, { step: 'start', status: 'succeeded' }]);
    expect(await get('/get')).toBe('blue');
  });

  it('while a password is changed, and while the old one is shut out', async () => {
    const before = await dsnOf('shop');
    await get('/watch?killed');
    expect(await killedIn('admit', ['postgres:rotate', 'shop'], 'postgres:shop')).toMatchObject({ status: 'succeeded' });
    const tail = sshing(berth, 'events -t -n 1 --type OperationStepStarted --format json');
    try {
      await tail.says(/"step":"retire"/);
      berth.kill('service-1');
    } finally {
      tail.kill();
    }
    await retired('shop');
    await quiet('killed');
    await ok(['postgres:connect', 'shop'], { stdin: 'drop table watch' });
    expect(await letIn('shop', before)).toMatch(/authentication failed|not permitted to log in/);
    expect(await letIn('shop', await dsnOf('shop'))).toBe('');
  });

  it.each(['redis', 'postgres'])('in the start step of %s, whose data is being made', async (type) => {
    for (let n = 1; ; n += 1) {
      expect(n, 'too quick to be killed').toBeLessThan(10);
      const name = `killed-${n}`;
      const row = await killedIn('start', [`${type}:create`, name], `${type}:${name}`);
      expect(row).toMatchObject({ status: 'succeeded' });
      expect(await containersOf(type, name)).toHaveLength(1);
      expect(await ok([`${type}:connect`, name], { stdin: type === 'redis' ? 'ping' : 'select 1' })).toMatch(/PONG|1 row/);
      await ok([`${type}:destroy`, name, '--confirm', name, '--no-dump']);
      if (row.steps.at(-1)!.attempt > 1) return;
    }
  });
});

describe('an app', () => {
  it('that is destroyed leaves its services free to be destroyed', async () => {
    await ok(['apps:destroy', 'shop', '--confirm', 'shop']);
    expect(await berth.json(['postgres:links', 'shop'])).toEqual([]);
    for (const [type, name] of [['postgres', 'shop'], ['redis', 'cache']] as const) await ok([`${type}:destroy`, name, '--confirm', name]);
    await berth.until('nothing left', async () => {
      const { containers, networks, volumes } = await berth.owned();
      return containers.length + networks.length + volumes.length === 0;
    });
  });
});
