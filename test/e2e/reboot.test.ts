import { mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { leftovers } from '../chaos/judge.js';
import { LogWatch } from '../chaos/log-watch.js';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { type AppFiles, type AppWishes, type EventItem, baseImage, baseOf, deployOf, deploysOf, eventsOf, left, pushing } from './berth.kit.js';

/** The power goes: every process, container, mount and everything in /run. What was live comes back before anything else goes on. */
let berth: Fixture;
let app: (wishes?: AppWishes) => AppFiles;
const dirs: Record<string, string> = {};
const NAMES = ['calm', 'busy', 'pair'] as const;

beforeAll(async () => {
  berth = await startBerth({ engine: { liveRestore: false } });
  app = await baseImage(berth);
  for (const name of NAMES) {
    dirs[name] = await berth.repo(app({ version: 'v1', ...(name === 'pair' && { procfile: 'web: server\nworker: sleep 10000\n' }) }));
    const pushed = await berth.push(dirs[name], name);
    expect(pushed.code, pushed.output).toBe(0);
  }
  expect((await berth.cli(['ps:scale', 'pair', 'web=2', 'worker=1'])).code).toBe(0);
});
afterAll(async () => { await berth.stop(); });

const running = async (): Promise<string[]> => {
  const filters = encodeURIComponent(JSON.stringify({ label: [`berth.instance=${berth.instance}`], status: ['running'] }));
  return (await berth.engine<{ Names: string[] }[]>('GET', `/containers/json?filters=${filters}`)).map((c) => c.Names[0]!).sort();
};
const serving = async (): Promise<boolean> => (await Promise.all(NAMES.map((name) => berth.http(name)))).every(({ status }) => status === 200);
const since = async (position: number): Promise<EventItem[]> => (await eventsOf(berth)).filter(({ data }) => data.position > position);
const last = async (): Promise<number> => (await eventsOf(berth)).at(-1)!.data.position;

/** In another order each time; the slow ones last, too. */
const ORDERS = [
  ['api', 'route-1', 'release-1', 'build-1', 'detect-1', 'clone-1', 'router', 'sshd', 'redis', 'containerd', 'dockerd'],
  ['dockerd', 'containerd', 'clone-1', 'build-1', 'detect-1', 'redis', 'release-1', 'route-1', 'router', 'sshd', 'api'],
];

/** What a machine that went off in the middle of things may have left; answers what must stay. */
async function plant(): Promise<string[]> {
  const { id } = await berth.json<{ id: string }>(['apps:info', 'calm']);
  const marks = (app: string, deploy?: number): Record<string, string> => ({ 'berth.instance': berth.instance, 'berth.app': app, ...(deploy !== undefined && { 'berth.deploy': String(deploy) }) });
  const { Id: base } = await berth.engine<{ Id: string }>('GET', `/images/${baseOf(berth)}/json`);
  await berth.engine('POST', '/volumes/create', { Name: 'of-an-app-that-is-gone', Labels: marks('gone') });
  await berth.engine('POST', '/volumes/create', { Name: 'of-a-container-that-is-gone', Labels: marks(id, 99) });
  await berth.engine('POST', '/volumes/create', { Name: 'of-the-app-itself', Labels: marks(id) });
  await berth.engine('POST', '/volumes/create', { Name: 'somebody-elses' });
  await berth.engine('POST', '/networks/create', { Name: `${berth.instance}-gone`, Labels: marks('gone') });
  // its volume is anonymous: it goes with it
  await berth.engine('POST', '/containers/create?name=never-started', { Image: base, Labels: marks(id, 98), HostConfig: { Mounts: [{ Type: 'volume', Target: '/data', VolumeOptions: { Labels: marks(id, 98) } }] } });
  const objects = join(berth.root, 'repos', `${id}.git`, 'objects');
  for (const name of ['killed', 'coming']) mkdirSync(join(objects, `tmp_objdir-incoming-${name}`, 'pack'), { recursive: true });
  utimesSync(join(objects, 'tmp_objdir-incoming-killed'), new Date(), new Date(Date.now() - 48 * 3_600_000));
  mkdirSync(join(berth.root, 'sources', `${id}.97.clone`));
  writeFileSync(join(berth.root, 'sources', `${id}.97.clone`, 'source.tar.part'), 'half');
  for (const kind of ['deploys', 'apps']) mkdirSync(join(berth.root, 'logs', kind, 'gone'), { recursive: true });
  return [`pushed objects of nobody: ${id}.git/objects/tmp_objdir-incoming-coming`, 'volume somebody-elses'];
}
const lying = async (): Promise<string[]> => {
  const log = new LogWatch(berth);
  try {
    return (await leftovers(berth, log.events, baseOf(berth))).sort();
  } finally {
    log.close();
  }
};

describe('the machine is switched off and on', () => {
  it('in order: every container ends well, so that the engine leaves it as it is, and every app is back on its recorded release', async () => {
    const before = await running();
    const position = await last();
    await berth.until('nothing to lie about', async () => (await lying()).length === 0);
    const others = await plant();
    // a sweep may have come round
    expect((await lying()).length).toBeGreaterThan(others.length);
    await berth.program('dockerd').down('SIGTERM');
    await berth.powerOff();
    berth.powerOn(ORDERS[0]);
    await berth.until('every app to serve', serving, 60_000);
    expect(await running()).toEqual(before);
    expect((await Promise.all(NAMES.map((name) => berth.http(name)))).every(({ body }) => body.startsWith('v=v1 '))).toBe(true);
    const repairs = (await since(position)).filter(({ data }) => data.type === 'RepairStarted').map(({ data }) => data.data);
    // the worker died of its signal: that one the engine starts again by itself
    expect(repairs.map((repair) => `${String(repair['by'])} ${String(repair['subjects'])}`).sort()).toEqual(['start web.1', 'start web.1', 'start web.1,web.2']);
    await berth.until('the drift to be over', async () => (await berth.cli(['doctor', '--format', 'json'])).out.includes('what runs is what the log says'));
    await berth.until('what nobody owns to be gone, and nothing else', async () => {
      const left = await lying();
      if (left.join() !== others.join()) throw new Error(left.join('\n'));
      return true;
    });
    expect((await berth.engine<{ Name: string }>('GET', '/volumes/of-the-app-itself')).Name).toBe('of-the-app-itself');
  });

  it('at once, with one deploy in the middle of its build, and one that waits: first what was live, then they go on', async () => {
    const dir = dirs['busy']!;
    await berth.commit(dir, { ...app({ version: 'v2' }), Dockerfile: (app()['Dockerfile'] as string).replace('COPY', 'RUN sleep 3\nCOPY') });
    const first = pushing(berth, dir, 'busy');
    await first.says(/-----> Building busy/);
    const two = `${dir}-two`;
    await berth.git(dir, 'clone', '-q', dir, two);
    await berth.commit(two, app({ version: 'v3' }));
    const second = pushing(berth, two, 'busy', '+HEAD:refs/heads/main');
    await second.says(/Waiting: deploy 2 is running/);
    const position = await last();
    // as ones that ended well: the engine itself does not start them again
    for (const { processes } of await berth.json<{ processes: { id: string }[] }[]>(['ps:report'])) for (const { id } of processes) await berth.engine('POST', `/containers/${id}/update`, { RestartPolicy: { Name: 'no' } });
    await berth.powerOff();
    for (const push of [first, second]) push.kill(); // who pushed sees nothing any more: the deploys are asked for all the same
    berth.powerOn(ORDERS[1]);
    const ended = await berth.until('both deploys to end', async () => {
      const rows = await deploysOf(berth, 'busy');
      return rows.every((row) => row.status !== 'running' && row.status !== 'waiting') && rows;
    }, 60_000);
    expect(ended.map((row) => row.status)).toEqual(['succeeded', 'succeeded', 'succeeded']);
    await berth.until('the newest to serve', async () => (await berth.http('busy')).body.startsWith('v=v3 '));
    expect(await serving()).toBe(true);
    // the log tells the order: repairs of all that was live, then the first claim of a step
    const events = (await since(position)).map(({ data }) => data);
    const claim = events.find(({ type }) => type === 'StepStarted')!.position;
    const repaired = events.filter(({ type, position: at }) => type === 'RepairStarted' && at < claim);
    expect(new Set(repaired.map(({ data }) => data['app'])).size).toBe(3);
    expect(events.filter(({ type }) => type === 'RouteSwitched')).toHaveLength(2);
    expect((await deployOf(berth, 'busy', 2)).steps.map((step) => step.attempt)).toEqual([1, 1, 2, 1, 1]);
    await berth.until('five containers', async () => (await left(berth)).containers.length === 5, 30_000);
    expect((await running()).length).toBe(5);
  });
});
