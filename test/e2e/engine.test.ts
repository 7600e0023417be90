import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DockerDriver } from '../../src/drivers/engine/docker.driver.js';
import { labels } from '../../src/drivers/engine/labels.js';
import { StepFailure } from '../../src/events/step.js';
import { baseImages, random, removeAll, request, tarOf } from './engine.kit.js';

const instance = `t${random()}`;
const engine = new DockerDriver('/var/run/docker.sock');
const tag = `${instance}/app:1`;
let server: string;
let busybox: string;

beforeAll(async () => {
  ({ server, busybox } = await baseImages(engine, instance));
});
afterAll(async () => {
  await removeAll(engine, instance);
  expect(await engine.listContainers({ instance })).toEqual([]);
  expect(await engine.listNetworks({ instance })).toEqual([]);
  expect(await engine.listImages({ instance })).toEqual([]);
});

const failure = async (work: Promise<unknown>): Promise<StepFailure> => {
  const error = await work.then(() => null, (thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StepFailure);
  return error as StepFailure;
};
const readText = (file: string): string => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
};
const dockerfile = (text: string) => tarOf({ Dockerfile: text, 'a.txt': 'a\n' });

describe('a build', () => {
  it('tells its steps, its output and its outcome', async () => {
    const lines: string[] = [];
    const text = `FROM ${busybox}\nRUN echo one; echo "zwei ü" >&2; echo ${random()}\nCOPY a.txt /a.txt\nEXPOSE 8080 53/udp\nENTRYPOINT ["/bin/sh"]\n`;
    const image = await engine.build(dockerfile(text), request({ tag, labels: { instance, app: 'a', deploy: 1 }, onLine: (line) => void lines.push(line) }));
    expect(image).toMatchObject({ exposed: [8080], entrypoint: ['/bin/sh'], steps: 2, builder: 'buildkit' });
    expect(image.labels).toMatchObject(labels({ instance, app: 'a', deploy: 1 }));
    expect(lines).toContainEqual(expect.stringMatching(/^#\d+ \[2\/3\] RUN echo one/));
    expect(lines).toContainEqual(expect.stringMatching(/^#\d+ \d+\.\d{3} zwei ü$/));
    expect(lines).toContainEqual(expect.stringMatching(/^#\d+ DONE \d+\.\ds$/));
    const again = await engine.build(dockerfile(text), request({ tag, labels: { instance }, onLine: (line) => void lines.push(line) }));
    expect(again.cached).toBe(2);
    expect(lines).toContainEqual(expect.stringMatching(/^#\d+ CACHED$/));
  });

  it('that fails names the instruction and its exit code', async () => {
    const error = await failure(engine.build(dockerfile(`FROM ${busybox}\nRUN true\nRUN echo bye && exit 3\nRUN true\n`), request({ tag })));
    expect(error).toMatchObject({ code: 'build.failed', fault: 'user', message: 'the build failed in step 3/4: RUN echo bye && exit 3: exit code 3' });
  });

  it('names the stage of a failing stage', async () => {
    const error = await failure(engine.build(dockerfile(`FROM ${busybox} AS assets\nRUN no-such-program\nFROM ${busybox}\nCOPY --from=assets /x /x\n`), request({ tag })));
    expect(error.message).toBe('the build failed in step assets 2/2: RUN no-such-program: exit code 127');
  });

  it('fails on a file that is not there', async () => {
    expect(await failure(engine.build(dockerfile(`FROM ${busybox}\nCOPY nothing /\n`), request({ tag })))).toMatchObject({ code: 'build.failed', message: expect.stringContaining('COPY nothing /') });
  });

  it('fails on a Dockerfile that cannot be read, is empty or is missing', async () => {
    for (const text of [`FROM ${busybox}\nFOO bar\n`, '', `FROM ${busybox}\nCOPY onlyone\n`]) {
      expect(await failure(engine.build(dockerfile(text), request({ tag })))).toMatchObject({ code: 'build.dockerfile', fault: 'user' });
    }
    expect(await failure(engine.build(tarOf({ a: 'b' }), request({ tag })))).toMatchObject({ code: 'build.dockerfile' });
  });

  it('says which base image cannot be had', async () => {
    const error = await failure(engine.build(dockerfile('FROM berth.invalid/none:1\nRUN x\n'), request({ tag })));
    expect(error).toMatchObject({ code: 'build.base-image', message: expect.stringContaining('berth.invalid/none:1') });
  });

  it('is killed within a second of an abort', async () => {
    const stop = new AbortController();
    const mark = `6${Math.floor(Math.random() * 1e6)}`;
    const running = engine.build(dockerfile(`FROM ${busybox}\nRUN sleep ${mark}\n`), request({ tag, signal: stop.signal }));
    running.catch(() => {});
    const alive = () => readdirSync('/proc').some((pid) => {
      try {
        return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(mark);
      } catch {
        return false;
      }
    });
    while (!(alive())) await sleep(20);
    const at = performance.now();
    stop.abort(new Error('superseded'));
    await expect(running).rejects.toThrow('superseded');
    while (alive()) {
      expect(performance.now() - at, 'the process outlived the abort').toBeLessThan(10_000);
      await sleep(10);
    }
  });

  it('ends with its time limit', async () => {
    const error = await failure(engine.build(dockerfile(`FROM ${busybox}\nRUN sleep 60\n`), request({ tag, limits: { memory: 0, cpus: 0, timeoutMs: 1500 } })));
    expect(error).toMatchObject({ code: 'build.timeout', message: 'the build took longer than 1.5 seconds; it was in step 2/2: RUN sleep 60' });
  });

  it('dies above its memory limit, and the limit goes with the build', async () => {
    const eat = `FROM ${busybox}\nRUN echo ${random()}\nRUN /bin/server -eat 600 -exit 0\n`;
    const error = await failure(engine.build(dockerfile(eat), request({ tag, limits: { memory: 256 * 1024 ** 2, cpus: 0, timeoutMs: 60_000 } })));
    expect(error.code).toBe('build.out-of-memory');
    expect(error.message).toBe('the build ran out of memory in step 3/3: RUN /bin/server -eat 600 -exit 0: it may use 256 MiB');
    expect(error.hint).toContain('BERTH_BUILD_MEMORY');
    await engine.build(dockerfile(eat), request({ tag, labels: { instance } }));
  });

  it('does not get more processors than its limit', async () => {
    const spin = `FROM ${busybox}\nRUN echo ${random()}; end=$(($(date +%s) + 2)); while [ $(date +%s) -lt $end ]; do :; done; cat /proc/self/stat >/dev/null; times\n`;
    const used: number[] = [];
    const onLine = (line: string) => {
      const found = /(\d+)m([\d.]+)s (\d+)m([\d.]+)s$/.exec(line);
      if (found) used.push(Number(found[2]) + Number(found[4]));
    };
    await engine.build(dockerfile(spin), request({ tag, labels: { instance }, onLine, limits: { memory: 0, cpus: 0.25, timeoutMs: 60_000 } }));
    expect(used.length).toBeGreaterThan(0);
    expect(used.reduce((sum, seconds) => sum + seconds, 0)).toBeLessThan(1.5);
  });

  it('is the first to go when the machine\'s memory runs out, and the last that the disk serves', async () => {
    const lines: string[] = [];
    const classOf = async (mark: string): Promise<string> => {
      const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && readText(`/proc/${name}/cmdline`).split('\0').includes(mark));
      return pid === undefined ? '' : execFileSync('ionice', ['-p', pid], { encoding: 'utf8' }).trim();
    };
    const mark = `7${Math.floor(Math.random() * 1e6)}`;
    const running = engine.build(dockerfile(`FROM ${busybox}\nRUN echo ${mark} >/dev/null; cat /proc/self/oom_score_adj; sleep 1; (cat /proc/self/oom_score_adj)\nRUN ["/bin/cat", "/proc/self/oom_score_adj"]\nRUN timeout 3 sleep ${mark} || true\n`), request({ tag, labels: { instance }, onLine: (line) => void lines.push(line), limits: { memory: 0, cpus: 1, timeoutMs: 60_000 } }));
    let over = false;
    running.catch(() => {}).finally(() => { over = true; });
    let disk = '';
    while (disk === '' && !over) {
      disk = await classOf(mark);
      await sleep(20);
    }
    await running;
    expect(disk).toBe('idle');
    expect(lines.flatMap((line) => /^#\d+ \d+\.\d{3} (-?\d+)$/.exec(line)?.[1] ?? [])).toEqual(['1000', '1000', '1000']);
  });

  it('falls back to the engine\'s old builder when limits cannot be set', async () => {
    const helpless = new DockerDriver('/var/run/docker.sock', { cgroupRoot: '/proc/nowhere' });
    const notes: string[] = [];
    const lines: string[] = [];
    const limits = { memory: 256 * 1024 ** 2, cpus: 1, timeoutMs: 60_000 };
    const over = { tag, limits, labels: { instance }, onNote: (text: string) => void notes.push(text), onLine: (line: string) => void lines.push(line) };
    const image = await helpless.build(dockerfile(`FROM ${busybox}\nRUN echo ${random()}\nRUN echo hi\n`), request(over));
    expect(image).toMatchObject({ builder: 'legacy', steps: 3 });
    expect(notes[0]).toContain('legacy builder');
    expect(lines).toContainEqual(expect.stringMatching(/^#3 \[3\/4\] RUN echo hi$/));
    expect(await failure(helpless.build(dockerfile(`FROM ${busybox}\nRUN /bin/server -eat 600 -exit 0\n`), request(over)))).toMatchObject({ code: 'build.out-of-memory' });
    expect(await failure(helpless.build(dockerfile(`FROM ${busybox}\nRUN exit 9\n`), request(over)))).toMatchObject({ code: 'build.failed', message: expect.stringMatching(/step 2\/3: RUN exit 9: exit code 9/) });
    expect(await failure(helpless.build(dockerfile(`FROM ${busybox}\nFOO\n`), request(over)))).toMatchObject({ code: 'build.dockerfile' });
    expect(await failure(helpless.build(dockerfile(`FROM ${busybox}\n`), request({ ...over, secrets: { a: 'b' } })))).toMatchObject({ code: 'build.no-limits', fault: 'machine' });
  });

  it('sees secrets in RUN, and nowhere else', async () => {
    const secret = `hush-${random()}`;
    const lines: string[] = [];
    const image = await engine.build(dockerfile(`FROM ${busybox}\nRUN sleep 2; echo ${random()}\nUSER nobody\nRUN --mount=type=secret,id=s,target=/run/s,mode=0444 echo ${random()}; wc -c /run/s\nRUN ls -la /run\n`), request({ tag, labels: { instance }, secrets: { s: secret }, onLine: (line) => void lines.push(line) }));
    expect(lines.join('\n')).toMatch(new RegExp(` ${secret.length} /run/s`));
    const history = await engine['calls'].docker.getImage(image.id).history();
    expect(JSON.stringify([history, await engine['calls'].docker.getImage(image.id).inspect()])).not.toContain(secret);
    const out: string[] = [];
    await engine.runContainer({ name: `${instance}-look`, image: image.id, cmd: ['/bin/sh', '-c', 'cat /run/s 2>&1; true'], env: {}, labels: { instance }, network: 'none', memory: 0, cpus: 0, pids: 0, restart: 'no' }, (line) => void out.push(line), new AbortController().signal);
    expect(out.join()).not.toContain(secret);
  });
});

const spec = (name: string, cmd: string[] | null, over = {}) => ({ name: `${instance}-${name}`, image: busybox, cmd, env: {}, labels: { instance }, network: null, memory: 0, cpus: 0, pids: 0, restart: 'no' as const, ...over });

describe('containers', () => {
  it('run to the end with their output, whole and in order', async () => {
    const lines: string[] = [];
    const result = await engine.runContainer(spec('once', ['/bin/sh', '-c', 'echo "$A"; echo err >&2; i=0; while [ $i -lt 2000 ]; do echo "line $i äöü"; i=$((i+1)); done; printf end; exit 7'], { env: { A: 'x y "z"' } }), (line, stream) => void lines.push(`${stream} ${line}`), new AbortController().signal);
    expect(result).toEqual({ exitCode: 7, oomKilled: false });
    expect(lines).toContain('stdout x y "z"');
    expect(lines).toContain('stderr err');
    expect(lines.filter((line) => line.startsWith('stdout line'))).toEqual(Array.from({ length: 2000 }, (_, i) => `stdout line ${i} äöü`));
    expect(lines.findLast((line) => line.startsWith('stdout'))).toBe('stdout end');
    expect((await engine.listContainers({ instance })).map(({ name }) => name)).not.toContain(`${instance}-once`);
  });

  it('die with an abort, and are removed', async () => {
    const stop = new AbortController();
    const running = engine.runContainer(spec('stuck', ['sleep', '100']), () => {}, stop.signal);
    setTimeout(() => stop.abort(new Error('enough')), 500);
    await expect(running).rejects.toThrow('enough');
    expect(await engine.listContainers({ instance })).toEqual([]);
  });

  it('have a state, limits, logs, events and an end', async () => {
    const stop = new AbortController();
    const actions: string[] = [];
    const heard = (async () => {
      for await (const event of engine.events({ labels: { instance }, actions: ['start', 'die', 'destroy'], signal: stop.signal })) actions.push(`${event.type} ${event.action} ${event.exitCode ?? ''}`.trim());
    })();
    await sleep(200);
    const id = await engine.createContainer(spec('full', ['/bin/sh', '-c', 'trap "exit 5" TERM; echo up; head -c 40000 /dev/zero | tr "\\0" x; echo; sleep 0.1; echo down >&2; while :; do sleep 0.1; done'], { memory: 64 * 1024 ** 2, cpus: 0.5, pids: 50 }));
    expect(await engine.inspectContainer(id)).toMatchObject({ running: false, startedAt: null, exitCode: null });
    await engine.startContainer(id);
    await engine.startContainer(id);
    const state = await engine.inspectContainer(id);
    expect(state).toMatchObject({ running: true, exitCode: null, oomKilled: false, restartCount: 0, ip: expect.stringMatching(/^172\./) });
    expect(state?.startedAt).toBeGreaterThan(Date.now() - 60_000);
    const raw = await engine['calls'].docker.getContainer(id).inspect();
    expect(raw.HostConfig).toMatchObject({ Memory: 64 * 1024 ** 2, NanoCpus: 5e8, PidsLimit: 50, Init: true, LogConfig: { Config: { 'max-size': '10m', 'max-file': '3' } } });

    const lines: string[] = [];
    const following = (async () => {
      for await (const line of engine.logs(id, { follow: true })) lines.push(`${line.stream} ${line.text}`);
    })();
    await sleep(500);
    await engine.stopContainer(id, 5);
    await following;
    // two pipes: their order among each other is the engine's
    expect(lines.toSorted()).toEqual(['stderr down', 'stdout up', `stdout ${'x'.repeat(40_000)}`]);
    expect(await engine.waitContainer(id)).toBe(5);
    expect(await engine.inspectContainer(id)).toMatchObject({ running: false, exitCode: 5, ip: null });
    const last = [];
    for await (const line of engine.logs(id, { follow: false, tail: 1 })) last.push(line);
    expect(last).toEqual([{ stream: 'stderr', text: 'down', at: expect.stringMatching(/^\d{4}-.*\.\d{9}Z$/) }]);
    await engine.removeContainer(id);
    await engine.removeContainer(id);
    expect(await engine.inspectContainer(id)).toBeNull();
    await sleep(100);
    stop.abort();
    await heard;
    expect(actions).toEqual(['container start', 'container die 5', 'container destroy']);
  });

  it('say when the kernel killed them for memory', async () => {
    const result = await engine.runContainer(spec('oom', ['/bin/server', '-eat', '200', '-exit', '0'], { memory: 32 * 1024 ** 2 }), () => {}, new AbortController().signal);
    expect(result).toEqual({ exitCode: 137, oomKilled: true });
  });
});

describe('networks', () => {
  it('take the first free /24 of the pool, once a name', async () => {
    const third = 4 * Math.floor(Math.random() * 60);
    const pool = `10.215.${third}.0/22`;
    const made = await Promise.all(['a', 'b', 'a'].map((name) => engine.ensureNetwork({ name: `${instance}-${name}`, labels: { instance, app: name }, pool })));
    expect(new Set(made.map(({ subnet }) => subnet))).toEqual(new Set([`10.215.${third}.0/24`, `10.215.${third + 1}.0/24`]));
    expect(made[0]?.id).toBe(made[2]?.id);
    const other = new DockerDriver('/var/run/docker.sock');
    const both = await Promise.all([engine, other].map((driver) => driver.ensureNetwork({ name: `${instance}-c`, labels: { instance }, pool })));
    expect(both[0]?.id).toBe(both[1]?.id);
    await engine.ensureNetwork({ name: `${instance}-d`, labels: { instance }, pool });
    expect(await failure(engine.ensureNetwork({ name: `${instance}-e`, labels: { instance }, pool }))).toMatchObject({ code: 'network.pool-full', fault: 'machine' });
    const { uplinkMtu } = await import('../../src/drivers/engine/docker.networks.js');
    const raw = (await engine['calls'].docker.getNetwork(`${instance}-a`).inspect()) as { Options?: Record<string, string> };
    if (uplinkMtu() < 1500) expect(raw.Options).toEqual({ 'com.docker.network.driver.mtu': String(uplinkMtu()) });
    expect(await engine.listNetworks({ instance })).toHaveLength(4);
    for (const name of ['a', 'b', 'c', 'd', 'd']) await engine.removeNetwork(`${instance}-${name}`);
    expect(await engine.listNetworks({ instance })).toEqual([]);
  });
});

describe('images', () => {
  it('are found by label, tagged and removed', async () => {
    await engine.tagImage(server, `${instance}/other:2`);
    expect((await engine.inspectImage(`${instance}/other:2`))?.id).toBe((await engine.inspectImage(server))?.id);
    expect((await engine.listImages({ instance })).flatMap(({ tags }) => tags)).toContain(`${instance}/other:2`);
    await engine.removeImage(`${instance}/other:2`);
    await engine.removeImage(`${instance}/other:2`);
    expect(await engine.inspectImage(`${instance}/other:2`)).toBeNull();
    expect(await engine.canPull('berth.invalid/none:1')).toBe(false);
  });
});

describe('an engine that is down', () => {
  it('is a fault of the machine, with what to do', async () => {
    const none = new DockerDriver('/run/no-such-docker.sock');
    for (const work of [() => none.ping(), () => none.listContainers({}), () => none.build(dockerfile('FROM scratch'), request({ tag })), () => none.waitContainer('x')]) {
      expect(await failure(work())).toMatchObject({ code: 'engine.down', fault: 'machine', message: 'the Docker engine does not answer on /run/no-such-docker.sock', hint: 'start it: systemctl start docker' });
    }
  });

  it('ends every wait, even one whose answer had begun', async () => {
    const socket = join(tmpdir(), `berth-engine-${random()}.sock`);
    let waited = () => {};
    const begun = new Promise<void>((resolve) => { waited = resolve; });
    const dying = createServer((asked, answer) => {
      if (!asked.url?.includes('/wait')) return void answer.end('{}');
      answer.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
      waited();
    }).listen(socket);
    const ended = failure(new DockerDriver(socket).waitContainer('abc'));
    await begun;
    dying.close();
    dying.closeAllConnections();
    expect(await ended).toMatchObject({ code: 'engine.down', fault: 'machine' });
  });
});
