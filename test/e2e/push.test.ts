import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { type AppFiles, type AppWishes, Poller, baseImage, deployOf, deploysOf, eventsOf, pushing, refOf, remote, settled } from './berth.kit.js';

/** Pushes that are not the plain one: other branches, two at once, a closed terminal, two apps with two build workers. */
let berth: Fixture;
let app: (wishes?: AppWishes) => AppFiles;

beforeAll(async () => {
  berth = await startBerth({ workers: { build: 2 } });
  app = await baseImage(berth);
});
afterAll(() => berth.stop());

const body = async (host: string): Promise<string> => (await berth.http(host)).body.trim();
const head = async (dir: string): Promise<string> => (await berth.git(dir, 'rev-parse', 'HEAD')).trim();

describe('branches', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await berth.repo(app());
    expect((await berth.push(dir, 'branchy')).code).toBe(0);
  });

  it('stores another branch, says how to deploy it, and deploys nothing', async () => {
    await berth.git(dir, 'checkout', '-q', '-b', 'feature/x');
    const sha = await berth.commit(dir, { version: 'x\n' });
    const { code, output } = await berth.push(dir, 'branchy', 'feature/x');
    expect(code, output).toBe(0);
    expect(output).toContain('feature/x was stored, but not deployed: main is what deploys here');
    expect(output).toContain('git push <remote> feature/x:main');
    expect(output).toContain('berth git:set branchy deploy-branch feature/x');
    expect(await refOf(berth, 'branchy', 'refs/heads/feature/x')).toBe(sha);
    expect(await deploysOf(berth, 'branchy')).toHaveLength(1);
    expect(await body('branchy')).toMatch(/^v=1 /);
  });

  it('takes tags, and deletes what is not deployed', async () => {
    await berth.git(dir, 'tag', 'v1.0');
    expect(await berth.push(dir, 'branchy', 'v1.0')).toMatchObject({ code: 0 });
    expect(await refOf(berth, 'branchy', 'refs/tags/v1.0')).toBe(await head(dir));
    expect(await berth.push(dir, 'branchy', ':feature/x')).toMatchObject({ code: 0 });
    expect(await refOf(berth, 'branchy', 'refs/heads/feature/x')).toBe('');
    expect(await deploysOf(berth, 'branchy')).toHaveLength(1);
  });

  it('does not let the deploy branch be deleted', async () => {
    const { code, output } = await berth.push(dir, 'branchy', ':main');
    expect(code).not.toBe(0);
    expect(output).toContain('main is the deploy branch of branchy: it cannot be deleted');
    expect(await refOf(berth, 'branchy')).not.toBe('');
    expect(await body('branchy')).toMatch(/^v=1 /);
  });

  it('deploys another branch once it was set, and the old one no more', async () => {
    expect((await berth.ssh('git:set branchy deploy-branch release')).out).toContain('Setting deploy-branch to release');
    expect(await berth.json(['git:report', 'branchy'])).toMatchObject([{ app: 'branchy', deployBranch: 'release' }]);
    const pushed = await berth.push(dir, 'branchy', 'HEAD:refs/heads/release');
    expect(pushed.code, pushed.output).toBe(0);
    expect(await body('branchy')).toMatch(/^v=x /);
    expect((await berth.push(dir, 'branchy', 'HEAD:refs/heads/main')).output).toContain('main was stored, but not deployed: release is what deploys here');
    expect(await body('branchy')).toMatch(/^v=x release=v2 /);
    const bad = await berth.cli(['git:set', 'branchy', 'deploy-branch', '../x']);
    expect([bad.code, bad.err]).toEqual([1, expect.stringContaining('is not a branch name')]);
  });

  it('deploys once when several branches and tags come in one push', async () => {
    await berth.commit(dir, { version: 'many\n' });
    await berth.git(dir, 'tag', 'v2.0');
    const before = (await deploysOf(berth, 'branchy')).length;
    const { code, output } = await berth.push(dir, 'branchy', 'HEAD:refs/heads/release', { args: ['--tags'] });
    expect(code, output).toBe(0);
    expect((await deploysOf(berth, 'branchy')).length).toBe(before + 1);
    expect(await body('branchy')).toMatch(/^v=many /);
  });

  it('takes a forced push of rewritten history', async () => {
    await berth.git(dir, 'commit', '-q', '--amend', '-m', 'rewritten');
    expect((await berth.push(dir, 'branchy', 'HEAD:refs/heads/release')).code).not.toBe(0); // git's own word: not a fast-forward
    const forced = await berth.push(dir, 'branchy', '+HEAD:refs/heads/release');
    expect(forced.code, forced.output).toBe(0);
    expect(await refOf(berth, 'branchy', 'refs/heads/release')).toBe(await head(dir));
  });

  it('lets a key holder clone what is deployed', async () => {
    const to = `${dir}-clone`;
    await berth.git(dir, 'clone', '-q', '-b', 'release', berth.url('branchy'), to);
    expect(await head(to)).toBe(await head(dir));
    await expect(berth.git(dir, 'ls-remote', berth.url('missing'))).rejects.toThrow('App missing does not exist');
  });
});

describe('making apps by a push', () => {
  it('can be switched off', async () => {
    const dir = await berth.repo(app());
    expect((await berth.cli(['apps:set', '--global', 'disable-autocreation', 'true'])).code).toBe(0);
    const refused = await berth.push(dir, 'uninvited');
    expect(refused.code).not.toBe(0);
    expect(refused.output).toContain('App uninvited does not exist, and pushes do not make apps here');
    expect(refused.output).toContain('berth apps:create uninvited');
    expect((await berth.cli(['apps:exists', 'uninvited'])).code).toBe(20);
    expect((await berth.cli(['apps:set', '--global', 'disable-autocreation', 'false'])).code).toBe(0);
  });

  it('makes no app of a name that is none', async () => {
    const dir = await berth.repo(app());
    await Promise.all(['Upper', 'with%20space', '..', '../../etc', 'a'.repeat(200), 'ünïcode', '-x', 'a_b'].map(async (name) => {
      const { code, output } = await berth.push(dir, name);
      expect(code, name).not.toBe(0);
      expect(output, name).toMatch(/ ! {5}\S/);
    }));
    expect(await berth.json(['apps:list'])).toEqual(['branchy']);
  });
});

describe('several at once', () => {
  it('lets the second push wait and say so, and a third take its place', async () => {
    const a = await berth.repo(app({ version: 'a', args: '-delay 3000' }));
    expect((await berth.push(a, 'busy')).code).toBe(0);
    const b = `${a}-b`;
    const c = `${a}-c`;
    for (const copy of [b, c]) await berth.git(a, 'clone', '-q', a, copy);
    await berth.commit(a, { version: 'a2\n' });
    await berth.commit(b, { version: 'b\n' });
    await berth.commit(c, { version: 'c\n' });
    const first = pushing(berth, a, 'busy');
    await first.says(/-----> Releasing busy/);
    const second = pushing(berth, b, 'busy', '+HEAD:refs/heads/main');
    await second.says(/Waiting: deploy 2 is running, this one comes next/);
    const third = pushing(berth, c, 'busy', '+HEAD:refs/heads/main');
    expect(await second.ended).not.toBe(0);
    expect(second.output).toContain('Deploy 3 of busy was superseded by deploy 4');
    expect(await first.ended, first.output).toBe(0);
    expect(await third.ended, third.output).toBe(0);
    expect(third.output).toMatch(/Waiting: deploy 2 is running, this one comes next[\s\S]*-----> Cloning busy[\s\S]*=====> Application deployed: busy v3/);
    expect((await settled(berth, 'busy')).map((d) => [d.deploy, d.status])).toEqual([[4, 'succeeded'], [3, 'superseded'], [2, 'succeeded'], [1, 'succeeded']]);
    expect(await body('busy')).toMatch(/^v=c /);
    // the first moved the branch while the third waited: what is live is where it points
    expect(await refOf(berth, 'busy')).toBe(await head(c));
    expect(third.output).toMatch(/was at [0-9a-f]{7} meanwhile/);
  });

  it('builds two apps at the same time with two build workers', async () => {
    const slow = { dockerfile: 'FROM BASE\nRUN sleep 2\nCOPY version /version\nCMD ["/bin/server"]\n' };
    const [one, two] = await Promise.all([berth.repo(app({ ...slow, version: 'one' })), berth.repo(app({ ...slow, version: 'two' }))]);
    // both queue behind nobody: each build worker takes one, though each could take both
    const pushes = await Promise.all([berth.push(one, 'one'), berth.push(two, 'two')]);
    expect(pushes.map((push) => push.code), pushes.map((push) => push.output).join('\n')).toEqual([0, 0]);
    const spans = await Promise.all(['one', 'two'].map(async (name) => {
      const of = async (type: string): Promise<number> => (await eventsOf(berth, '--of', name, '--type', type)).find((item) => item.data.data['step'] === 'build')!.data.at;
      return { from: await of('StepStarted'), to: await of('ImageBuilt') };
    }));
    expect(Math.max(...spans.map((span) => span.from))).toBeLessThan(Math.min(...spans.map((span) => span.to)));
    const { workers } = await berth.json<{ workers: { name: string; kind: string }[] }>(['workers']);
    expect(workers.filter((worker) => worker.kind === 'build').map((worker) => worker.name)).toEqual(['build-1', 'build-2']);
    expect([await body('one'), await body('two')]).toEqual(['v=one release=v1 dyno=web.1', 'v=two release=v1 dyno=web.1']);
  });

  it('keeps changes that are asked for while another runs', async () => {
    const dir = await berth.repo(app({ version: '1', args: '-delay 1000' }));
    expect((await berth.push(dir, 'merge')).code).toBe(0);
    await berth.commit(dir, { version: '2\n' });
    const push = pushing(berth, dir, 'merge');
    await push.says(/-----> Releasing merge/);
    const all = await Promise.all([berth.cli(['config:set', 'merge', 'A=1']), berth.cli(['config:set', 'merge', 'B=2']), berth.cli(['ps:scale', 'merge', 'web=2'])]);
    expect(all.map((one) => one.code), JSON.stringify(all)).toEqual([0, 0, 0]);
    expect(await push.ended, push.output).toBe(0);
    await settled(berth, 'merge');
    expect([(await berth.http('merge', '/env/A')).body, (await berth.http('merge', '/env/B')).body]).toEqual(['1', '2']);
    const [report] = await berth.json<{ processes: { name: string; state: string }[] }[]>(['ps:report', 'merge']);
    expect(report!.processes.map((p) => `${p.name} ${p.state}`)).toEqual(['web.1 running', 'web.2 running']);
    expect(await body('merge')).toMatch(/^v=2 /);
  });

  it('can be cancelled: what served goes on serving, the push is refused', async () => {
    const dir = await berth.repo(app({ version: '1' }));
    expect((await berth.push(dir, 'halt')).code).toBe(0);
    const old = await head(dir);
    await berth.commit(dir, { version: '2\n', Dockerfile: app({ args: '-delay 60000' })['Dockerfile'] as string });
    const poller = new Poller(berth, 'halt', true);
    const push = pushing(berth, dir, 'halt');
    await push.says(/-----> Releasing halt/);
    expect((await berth.ssh('deploys:cancel halt --reason second-thoughts')).out).toContain('Cancelled deploy 2 of halt');
    expect(await push.ended).not.toBe(0);
    expect(push.output).toContain('Deploy 2 of halt was cancelled by key:test');
    await poller.stop();
    expect(poller.failures).toEqual([]);
    expect(await refOf(berth, 'halt')).toBe(old);
    const { id } = await berth.json<{ id: string }>(['apps:info', 'halt']);
    await berth.until('the cancelled container to go', async () => {
      const filters = encodeURIComponent(JSON.stringify({ label: [`berth.instance=${berth.instance}`, `berth.app=${id}`] }));
      return (await berth.engine<unknown[]>('GET', `/containers/json?all=1&filters=${filters}`)).length === 1;
    });
    expect((await berth.cli(['deploys:cancel', 'halt'])).err).toContain('No deploy of halt is running');
  });
});

describe('a closed terminal', () => {
  it('does not stop the deploy; the same push again picks the output up', async () => {
    const dir = await berth.repo(app({ version: 'away', args: '-delay 1500' }));
    const push = pushing(berth, dir, 'closed');
    await push.says(/-----> Releasing closed/);
    push.kill();
    await push.ended;
    expect((await deployOf(berth, 'closed', 1)).status).toBe('running');
    const again = await berth.push(dir, 'closed');
    expect(again.code, again.output).toBe(0);
    const lines = remote(again.output);
    expect(lines.join('\n')).toMatch(/Deploy 1 of [0-9a-f]{7} is under way: this (?:is its output|goes on where its output was cut off)\n[\s\S]*-----> Routing closed[\s\S]*=====> Application deployed: closed v1/);
    expect(await deploysOf(berth, 'closed')).toHaveLength(1);
    expect(await refOf(berth, 'closed')).toBe(await head(dir));
    expect(await body('closed')).toMatch(/^v=away /);
  });

  it('lets the branch move when nobody comes back', async () => {
    const dir = await berth.repo(app({ version: '1', args: '-delay 400' }));
    const push = pushing(berth, dir, 'left');
    await push.says(/-----> Building left/);
    push.kill();
    await berth.until('the deploy to end', async () => (await deployOf(berth, 'left', 1)).status === 'succeeded');
    expect(await body('left')).toMatch(/^v=1 /);
    // what is live is in the repository, whether or not git could move the branch: it can be built again
    const rebuilt = await berth.cli(['ps:rebuild', 'left']);
    expect(rebuilt.code, rebuilt.out + rebuilt.err).toBe(0);
    await berth.commit(dir, { version: '2\n' });
    const next = await berth.push(dir, 'left');
    expect(next.code, next.output).toBe(0);
    expect(await body('left')).toMatch(/^v=2 /);
  });

  it('is followed from anywhere, from the first line or from behind one', async () => {
    const dir = await berth.repo(app({ version: 'f', args: '-delay 1500' }));
    const push = pushing(berth, dir, 'followed');
    await push.says(/-----> Releasing followed/);
    const [all, rest, remoteOne] = await Promise.all([berth.cli(['deploys:follow', 'followed']), berth.cli(['deploys:follow', 'followed', '1', '--after', '4', '--format', 'json']), berth.ssh('deploys:follow followed')]);
    expect(await push.ended).toBe(0);
    expect([all.code, rest.code, remoteOne.code]).toEqual([0, 0, 0]);
    expect(all.out).toMatch(/^-----> Cloning followed[\s\S]*=====> Application deployed: followed v1/);
    expect(remoteOne.out).toBe(all.out);
    const numbers = rest.out.split('\n').filter(Boolean).map((line) => JSON.parse(line) as { event: string; data: { n: number } }).filter((item) => item.event === 'line').map((item) => item.data.n);
    expect(numbers).toEqual(Array.from(numbers, (_, i) => i + 5));
  });
});
