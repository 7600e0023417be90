import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { type Server, createServer } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stackImages } from '../../src/drivers/stack/stack.js';
import { type Fixture, run, startBerth } from '../lib/berth-fixture.js';
import { type AppFiles, deploysOf } from './berth.kit.js';
import { random } from './engine.kit.js';

/** What a build can do to the server that carries it out: each kind of build tries. */
let berth: Fixture;
/** listens on loopback, as a database does; nobody of a build may come here */
let database: Server;
let visits = 0;
let probe: string;
let packs: string;
const TOKEN = `t0ken-${random()}-${random()}`;
const HIDDEN = `h1dden-${random()}-${random()}`;

/** TCP ports of 127.0.0.1 and of all addresses on which a process listens. */
function portsOf(pids: readonly number[]): number[] {
  const sockets = new Set(pids.flatMap((pid) => readdirSync(`/proc/${pid}/fd`).flatMap((fd) => { try { return [/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? '']; } catch { return []; } })));
  const lines = ['tcp', 'tcp6'].flatMap((file) => readFileSync(`/proc/net/${file}`, 'utf8').split('\n').slice(1)).map((line) => line.trim().split(/\s+/));
  return [...new Set(lines.filter((words) => words[3] === '0A' && sockets.has(words[9] ?? '')).map((words) => Number.parseInt(words[1]!.split(':')[1]!, 16)))];
}

const children = (pid: number): number[] => [pid, ...readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).flatMap((child) => children(Number(child)))];

/** Tries each address and port, looks for sockets, tells its priority. Says `the probe could …` when it could. */
const program = (addresses: readonly string[], ports: readonly number[], mark: string): string => `# of no use to django
import os, socket, stat, subprocess, time
print("probe ${mark}")
route = [line.split() for line in open("/proc/net/route")][1:]
gateways = [socket.inet_ntoa(bytes.fromhex(words[2])[::-1]) for words in route if words[1] == "00000000"]
tried = 0
for host in gateways + ${JSON.stringify(addresses)}:
    for port in ${JSON.stringify(ports)}:
        tried += 1
        try:
            socket.create_connection((host, port), 0.5).close()
            print("the probe could reach", host, port)
        except OSError: pass
print("tried", tried, "from", len(gateways), "gateway")
for folder, below, files in os.walk("/"):
    below[:] = [name for name in below if os.path.join(folder, name) not in ("/proc", "/sys", "/dev")]
    for name in files:
        path = os.path.join(folder, name)
        if stat.S_ISSOCK(os.lstat(path).st_mode): print("the probe could see socket", path)
for path in ("/var/run/docker.sock", "/run/docker.sock", "${'$'}{ROOT}"):
    if os.path.exists(path): print("the probe could see", path)
if subprocess.run(["mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True).returncode == 0: print("the probe could mount")
try:
    os.mknod("/tmp/disk", 0o600 | stat.S_IFBLK, os.stat("/etc/hosts").st_dev)
    open("/tmp/disk", "rb").close()
    print("the probe could open a disk")
except OSError: pass
for left in range(100): # a busy server is not at once
    priority = open("/proc/self/oom_score_adj").read().strip(), subprocess.run(["ionice"], capture_output=True, text=True).stdout.strip()
    if priority == ("1000", "idle"): break
    time.sleep(0.1)
print("oom", priority[0], "disk", priority[1])
print("probe done")
`;

beforeAll(async () => {
  berth = await startBerth();
  expect((await berth.cli(['trace:on'])).code).toBe(0);
  packs = mkdtempSync(join(tmpdir(), 'berth-packs-'));
  database = createServer((socket) => { visits += 1; socket.destroy(); });
  const port = await new Promise<number>((done) => database.listen(0, '127.0.0.1', () => done((database.address() as { port: number }).port)));
  const own = [...berth.programs.values()].filter(({ name }) => name !== 'sshd').flatMap(({ pid }) => children(pid!));
  // apps are meant to be reached
  const listening = portsOf(own).filter((one) => one !== berth.httpPort);
  expect(listening).toContain(berth.apiPort);
  const addresses = ['127.0.0.1', '172.17.0.1', ...Object.values(networkInterfaces()).flat().flatMap((one) => (one?.family === 'IPv4' && !one.internal ? [one.address] : []))];
  probe = program([...new Set(addresses)], [...new Set([...listening, port, 6379, 5432, 2375])], random()).replace('${ROOT}', berth.root);
});
afterAll(async () => {
  database?.close();
  rmSync(packs, { recursive: true, force: true });
  await berth?.stop();
});

/** Command lines that hold a secret, and environments of processes that are in no container. Until it is stopped. */
function watching(secrets: readonly string[]): () => string[] {
  const seen = new Set<string>();
  const look = (): void => {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
      for (const file of ['cmdline', 'environ']) {
        try {
          const text = readFileSync(`/proc/${pid}/${file}`, 'latin1');
          if (secrets.some((secret) => text.includes(secret)) && (file === 'cmdline' || !/docker|buildkit/.test(readFileSync(`/proc/${pid}/cgroup`, 'utf8')))) seen.add(`${file}: ${text.replaceAll('\0', ' ').slice(0, 300)}`);
        } catch { /* it has ended */ }
      }
    }
  };
  const timer = setInterval(look, 30);
  return () => { clearInterval(timer); look(); return [...seen]; };
}

/** Pushes; the build's own words. */
async function built(app: string, files: AppFiles): Promise<string> {
  const dir = await berth.repo(files);
  const stop = watching([TOKEN, HIDDEN]);
  const { code, output } = await berth.push(dir, app).finally(() => { const seen = stop(); expect(seen).toEqual([]); });
  expect(code, output).toBe(0);
  return output;
}

function harmless(output: string): void {
  expect(output).toContain('probe done');
  expect(output).toMatch(/tried \d+ from 1 gateway/);
  expect(output.split('\n').filter((line) => line.includes('the probe could '))).toEqual([]);
  expect(output).toMatch(/oom 1000 disk idle/);
  expect(visits).toBe(0);
}

/** Where a secret stands that outlives the build: image, history, labels, log of the deploy, event log, data folder. */
async function traces(app: string): Promise<string[]> {
  const { id } = await berth.json<{ id: string }>(['apps:info', app]);
  const [deploy] = await deploysOf(berth, app);
  const image = `${berth.instance}/${app}:${deploy!.deploy}`;
  const docker = (...args: string[]): Buffer => execFileSync('/usr/bin/docker', args, { maxBuffer: 1 << 30 });
  const places: Record<string, Buffer | string> = { image: docker('save', image), history: docker('history', '--no-trunc', image), inspect: docker('image', 'inspect', image) };
  for (const command of ['deploys:follow', 'trace', 'events']) places[command] = (await berth.cli([command, app, ...(command === 'events' ? [] : [String(deploy!.deploy)])])).out;
  expect(places['deploys:follow']).toContain('probe done');
  expect(places['events']).toContain('ImageBuilt');
  const found = Object.entries(places).filter(([, text]) => [TOKEN, HIDDEN].some((secret) => text.includes(secret))).map(([place]) => place);
  const { out } = await run('grep', ['-rlaF', '--exclude-dir=run', '--exclude-dir=work', '-e', TOKEN, '-e', HIDDEN, berth.root], {});
  return [...found, ...out.split('\n').filter(Boolean).map((path) => path.replace(berth.root, '').replace(id, 'ID'))];
}

async function configured(app: string): Promise<void> {
  expect((await berth.cli(['apps:create', app])).code).toBe(0);
  // by a file: the command line is where it must not be
  const set = await berth.cli(['config:import', app, '-'], { stdin: `TOKEN=${TOKEN}\nHIDDEN=${HIDDEN}\n` });
  expect(set.code, set.err).toBe(0);
}

describe('a build cannot hurt the server, nor tell what it knows', () => {
  it('of a Dockerfile', async () => {
    await configured('docked');
    expect((await berth.cli(['builder-dockerfile:set', 'docked', 'build-secrets', 'TOKEN'])).code).toBe(0);
    const output = await built('docked', {
      Procfile: 'web: python3 -m http.server $PORT\n', 'probe.py': probe,
      Dockerfile: `FROM ${stackImages().run}\nCOPY probe.py /probe.py\nRUN python3 /probe.py\nRUN --mount=type=secret,id=TOKEN test "$(wc -c < /run/secrets/TOKEN)" = ${TOKEN.length} && echo "token $(cat /run/secrets/TOKEN)"\n`,
    });
    harmless(output);
    expect(output).toContain('token ***');
    expect(await traces('docked')).toEqual([]);
  });

  it('of one of our buildpacks', async () => {
    await configured('packed');
    expect((await berth.cli(['builder:set', 'packed', 'build-args', 'TOKEN'])).code).toBe(0);
    // collectstatic runs what the app says
    const output = await built('packed', { 'requirements.txt': '', Procfile: 'web: python3 -m http.server $PORT\n', 'manage.py': probe });
    harmless(output);
    expect(await traces('packed')).toEqual([]);
  });

  it('of a third-party buildpack', async () => {
    await configured('classic');
    execFileSync('bash', ['-ec', 'cd "$0" && mkdir bin && cat > bin/probe.py && printf "#!/bin/bash\\necho Probe\\n" > bin/detect && printf \'#!/bin/bash\\necho "token $(cat $3/TOKEN)"; python3 "$(dirname "$0")/probe.py"\\n\' > bin/compile && chmod +x bin/* && git init -q && git add -A && git -c user.name=t -c user.email=t@t commit -qm x', packs], { input: probe });
    expect((await berth.cli(['buildpacks:set', 'classic', `file://${packs}`])).code).toBe(0);
    const output = await built('classic', { Procfile: 'web: python3 -m http.server $PORT\n', 'app.txt': 'x' });
    harmless(output);
    expect(output).toContain('token ***');
    expect(await traces('classic')).toEqual([]);
  });

  it.each([
    ['RUN --network=host id', /line 2: RUN --network=host is not allowed: a build is not on the server's network/],
    ['RUN --security=insecure id', /line 2: RUN --security=insecure is not allowed/],
    ['ADD http://127.0.0.1:API/ /x', /line 2: ADD http:\/\/127\.0\.0\.1:\d+\/ asks the server itself/],
  ])('%s is refused', async (line, says) => {
    const dir = await berth.repo({ Dockerfile: `FROM ${stackImages().run}\n${line.replace('API', String(berth.apiPort))}\n` });
    const { code, output } = await berth.push(dir, 'refused');
    expect(code).not.toBe(0);
    expect(output).toMatch(says);
  });

  it('what the engine fetches in a roundabout way gets nothing without a token', async () => {
    const dir = await berth.repo({ Dockerfile: `FROM ${stackImages().run}\nARG HOST=127.0.0.1\nADD http://$HOST:${berth.apiPort}/v1/apps /x\n` });
    const { code, output } = await berth.push(dir, 'roundabout');
    expect(code).not.toBe(0);
    expect(output).toMatch(/40[13]/);
  });
});
