import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fixture, run, startBerth } from '../lib/berth-fixture.js';
import { type AppFiles, type AppWishes, Poller, baseImage, deploysOf, left, refOf, sshWords, sshing } from './berth.kit.js';

/** Whatever is wrong: a clear message, not zero, the old version serves on, nothing is left behind. */
let berth: Fixture;
let app: (wishes?: AppWishes) => AppFiles;
let dir: string;
let good: string;
let poller: Poller;
const quick = (over: object = {}): object => ({ healthchecks: { web: [{ path: '/check', timeout: 1, attempts: 2, wait: 0, ...over }] } });

beforeAll(async () => {
  berth = await startBerth();
  app = await baseImage(berth);
  dir = await berth.repo(app({ version: 'good' }));
  const pushed = await berth.push(dir, 'solid');
  expect(pushed.code, pushed.output).toBe(0);
  good = await refOf(berth, 'solid');
  poller = new Poller(berth, 'solid', true);
});
afterAll(async () => {
  await poller?.stop();
  await berth.stop();
});

interface Bad { what: string; files: () => AppFiles; says: RegExp[]; code: string; step: string }

/** A commit with exactly these files on top of the good one. */
async function broken(files: AppFiles): Promise<void> {
  await berth.git(dir, 'reset', '-q', '--hard', good);
  const gone = Object.fromEntries(Object.keys(app()).map((name) => [name, null]));
  await berth.commit(dir, { ...gone, ...files });
}

describe('a deploy that fails', () => {
  const dockerfile = 'FROM BASE\nCOPY version /version\nRUN echo "this is the second"; echo "what went wrong" >&2; exit 7\nCMD ["/bin/server"]\n';
  const kinds: Bad[] = [
    { what: 'nothing to detect', files: () => ({ 'README.md': 'words\n' }), says: [/Dockerfile/, /requirements\.txt/], code: 'detect.nothing', step: 'detect' },
    { what: 'an empty commit', files: () => ({}), says: [/the pushed commit holds no files/], code: 'clone.empty', step: 'clone' },
    { what: 'a bad Procfile line', files: () => app({ procfile: '# fine\nweb: server\nworker server\n' }), says: [/Procfile line 3: no colon: "worker server"/], code: 'detect.procfile', step: 'detect' },
    { what: 'an app.json that is none', files: () => app({ files: { 'app.json': '{"healthchecks": ' } }), says: [/app\.json/], code: 'detect.app-json', step: 'detect' },
    { what: 'a buildpack that may not be', files: () => ({ 'app.sh': 'true\n', '.env': 'export BUILDPACK_URL=file:///etc\n' }), says: [/BUILDPACK_URL in \.env/], code: 'detect.buildpack-url', step: 'detect' },
    { what: 'a Dockerfile that cannot be read', files: () => app({ dockerfile: 'FROM BASE\nFETCH x\n' }), says: [/the Dockerfile cannot be used/, /FETCH/i], code: 'build.dockerfile', step: 'build' },
    { what: 'a Dockerfile that fails in its third step', files: () => app({ dockerfile }), says: [/what went wrong/, /the build failed in step 3\/3: RUN echo.*: exit code 7/], code: 'build.failed', step: 'build' },
    { what: 'a file that the Dockerfile names and that is not there', files: () => app({ dockerfile: 'FROM BASE\nCOPY nowhere /x\n' }), says: [/nowhere/], code: 'build.failed', step: 'build' },
    { what: 'a crash at the start', files: () => app({ args: '-exit 3' }), says: [/web\.1: going down/, /web\.1 exited with code 3/], code: 'release.crashed', step: 'release' },
    { what: 'a program that is not in the image', files: () => app({ procfile: 'web: no-such-program\n' }), says: [/web\.1 exited with code 127/, /not in the image/], code: 'release.crashed', step: 'release' },
    { what: 'a program that is done at once', files: () => app({ args: '-exit 0' }), says: [/web\.1 exited with code 0/, /must keep running/], code: 'release.crashed', step: 'release' },
    { what: 'the wrong port', files: () => app({ args: '-port 5999', appJson: quick() }), says: [/the app listens on port 5999, expected \$PORT=5000/], code: 'release.check-failed', step: 'release' },
    { what: 'no port at all', files: () => app({ args: '-silent', appJson: quick() }), says: [/the app listens on no port, expected \$PORT=5000/], code: 'release.check-failed', step: 'release' },
    { what: 'a check that is never answered', files: () => app({ args: '-hang', appJson: quick() }), says: [/no answer within 1000 ms/], code: 'release.check-failed', step: 'release' },
    { what: 'a check that answers 500', files: () => app({ args: '-status 500', appJson: quick() }), says: [/GET \/check answered 500/], code: 'release.check-failed', step: 'release' },
    { what: 'a release command that fails', files: () => app({ procfile: 'web: server\nrelease: echo migrating; exit 4\n' }), says: [/migrating/, /ended with exit code 4/], code: 'release.command-failed', step: 'release' },
    { what: 'a package that does not exist', files: () => ({ 'requirements.txt': 'no-such-package-of-berth-e2e==9.9.9\n', Procfile: 'web: python -m http.server $PORT\n' }), says: [/no-such-package-of-berth-e2e/], code: 'build.failed', step: 'build' },
  ];

  it.each(kinds)('refuses the push: $what', async ({ files, says, code, step }) => {
    await broken(files());
    const pushed = await berth.push(dir, 'solid', '+HEAD:refs/heads/main');
    const [deploy] = await deploysOf(berth, 'solid');
    expect(pushed.code, pushed.output).not.toBe(0);
    for (const words of says) expect(pushed.output).toMatch(words);
    expect(deploy).toMatchObject({ status: 'failed', failure: { code } });
    expect(deploy!.steps.at(-1)).toMatchObject({ step, status: 'failed', attempt: 1 });
    expect(pushed.output).toMatch(new RegExp(`Deploy ${deploy!.deploy} of solid failed \\(${code}\\); v1 goes on serving`));
    expect(pushed.output).toMatch(/trace: berth trace solid \d+ {3}retry: berth jobs:retry \S+/);
    expect(pushed.output).toContain('pre-receive hook declined');
    expect(pushed.output).not.toMatch(/ at (?:async )?\S+ \(?\S+:\d+:\d+\)?/); // no stack trace is anybody's message
    expect(await refOf(berth, 'solid')).toBe(good);
    expect((await berth.http('solid')).body.trim()).toBe('v=good release=v1 dyno=web.1');
    expect((await left(berth)).containers).toHaveLength(1);
  });

  it('was not felt by who asked the app all the while', async () => {
    await poller.stop();
    expect(poller.failures).toEqual([]);
    expect(poller.ok).toBeGreaterThan(500);
    expect([...poller.seen.keys()]).toEqual(['v=good release=v1 dyno=web.1']);
  });

  it('leaves nothing once its failed jobs are discarded', async () => {
    const jobs = await berth.json<{ job: string; step: string }[]>(['jobs:failed']);
    expect(jobs).toHaveLength(kinds.length);
    for (const { job } of jobs) expect((await berth.cli(['jobs:discard', job])).code).toBe(0);
    const { id } = await berth.json<{ id: string }>(['apps:info', 'solid']);
    await berth.until('one container, one network, one image, one source', async () => {
      const { containers, networks, images, volumes } = await left(berth);
      if (containers.length > 1 || networks.length > 1 || images.length > 1) throw new Error(JSON.stringify({ containers, networks, images }));
      expect(volumes).toEqual([]);
      expect(readdirSync(join(berth.root, 'sources'))).toEqual([`${id}.1.clone`]);
      return true;
    }, 20_000);
    // no quarantine of a refused push stays in the repository
    expect(readdirSync(join(berth.root, 'repos', `${id}.git`, 'objects')).filter((name) => name.startsWith('tmp_'))).toEqual([]);
  });

  it('says of a first push that nothing serves, and the mended push is the first release', async () => {
    const fresh = await berth.repo(app({ args: '-exit 1' }));
    const refused = await berth.push(fresh, 'fresh');
    expect(refused.code).not.toBe(0);
    expect(refused.output).toContain('Deploy 1 of fresh failed (release.crashed)');
    expect(refused.output).not.toContain('goes on serving');
    expect((await berth.http('fresh')).status).toBe(404);
    expect(await refOf(berth, 'fresh')).toBe('');
    await berth.commit(fresh, app({ version: 'mended' }));
    expect((await berth.push(fresh, 'fresh')).code).toBe(0);
    expect((await berth.http('fresh')).body).toContain('v=mended');
    expect(await berth.json(['jobs:failed', 'fresh'])).toMatchObject([{ deploy: 1, step: 'release', superseded: { deploy: 2, release: expect.any(Number) as number }, kept: true }]);
  });
});

describe('words that will not do', () => {
  const refusals: [string, string[], RegExp, number?][] = [
    ['a name with ../', ['apps:create', '../etc'], /App name '\.\.\/etc' will not do/],
    ['a name with spaces', ['apps:create', 'a b'], /will not do/],
    ['a name of 200 characters', ['apps:create', 'a'.repeat(200)], /has 200 characters, at most 50 fit/],
    ['a name in Unicode', ['apps:create', 'blög'], /will not do/],
    ['an empty name', ['apps:create', ''], /An app name is needed/],
    ['a name that is taken', ['apps:create', 'solid'], /Name is already taken/],
    ['a line break in a name', ['apps:create', 'a\nb'], /'a\\nb' will not do/],
    ['a terminal escape in a name', ['apps:create', '\u001b[31mred'], /'\\u001b\[31mred' will not do/],
    ['scale to -1', ['ps:scale', 'solid', 'web=-1'], /web=-1/],
    ['scale to 1e9', ['ps:scale', 'solid', 'web=1e9'], /web=1000000000: at most 100/],
    ['scale to 1000000000', ['ps:scale', 'solid', 'web=1000000000'], /1000000000/],
    ['scale to abc', ['ps:scale', 'solid', 'web=abc'], /web=abc/],
    ['scale without a number', ['ps:scale', 'solid', 'web'], /web/],
    ['scale of a type that is not there', ['ps:scale', 'solid', 'wrb=1'], /wrb/],
    ['scale of a prototype', ['ps:scale', 'solid', '__proto__=1'], /__proto__/],
    ['an app that is not there', ['ps:scale', 'nobody', 'web=1'], /App nobody does not exist/, 20],
    ['an app named as an object has it', ['apps:info', 'constructor'], /App constructor does not exist/, 20],
    ['a command that is not there', ['apps:crate', 'x'], /apps:crate/],
    ['a flag that is not there', ['apps:list', '--colour'], /has no flag --colour/],
    ['a word too many', ['apps:list', 'x'], /takes no further word/],
    ['a word too few', ['apps:create'], /<app> is missing/],
    ['a format that is none', ['apps:list', '--format', 'xml'], /json or stdout/],
    ['a limit that is none', ['resource:limit', 'solid', '--memory', 'much'], /a size such as 512m/],
    ['a job that is not there', ['jobs:retry', 'abcdefghij.1.build'], /There is no failed job abcdefghij\.1\.build/],
    ['a job that is none', ['jobs:retry', '../../x'], /job: an id/],
    ['a commit that is none', ['deploys:create', 'solid', 'HEAD~1'], /commit: 7 to 64 hex digits/],
    ['a commit that is not there', ['deploys:create', 'solid', 'abcdef1234'], /The server has no commit abcdef1234/],
    ['a file that is not there', ['config:import', 'solid', '/nowhere/at/all'], /no such file/],
    ['an SSH key that is none', ['ssh-keys:add', 'x', '/etc/hostname'], /key/],
  ];
  it.concurrent.each(refusals)('%s', async (_, words, says, exit = 1) => {
    const before = await deploysOf(berth, 'solid');
    const { code, out, err } = await berth.cli(words);
    expect([code, out]).toEqual([exit, '']);
    expect(err).toMatch(says);
    expect(err).toMatch(/^ ! {5}/);
    expect(err).not.toContain('\u001b');
    expect(err).not.toMatch(/Something went wrong|\n {4}at /);
    expect(await deploysOf(berth, 'solid')).toEqual(before);
  });

  it('an env file with a bad line', async () => {
    const { code, err } = await berth.cli(['config:import', 'solid', '-'], { stdin: 'GOOD=1\nthis is no pair\n' });
    expect([code, err]).toEqual([1, expect.stringContaining('2')]);
    expect(await berth.json(['config:keys', 'solid'])).toEqual([]);
  });
});

describe('over SSH', () => {
  /** What the client's own library cannot send: the command as bytes. */
  const marker = (): string => join(berth.root, 'work', `pwned-${randomBytes(4).toString('hex')}`);

  it.concurrent.each([
    ['; touch FILE'], ['apps:list; touch FILE'], ['apps:list ;touch FILE'], ['apps:list && touch FILE'], ['apps:list | touch FILE'], ['apps:list $(touch FILE)'], ['apps:list `touch FILE`'],
    ['apps:info "$(touch FILE)"'], ["apps:info '`touch FILE`'"], ['apps:list > FILE'], ['apps:create "a;touch FILE"'], ['$(touch FILE)'], ['sh -c "touch FILE"'], ['git-receive-pack "x; touch FILE"'],
    ["git-upload-pack '$(touch FILE)'"], ['git-upload-pack --upload-pack=touch FILE'], ['git-receive-pack ../../../tmp'], ['git-shell'], ['scp -t FILE'], ['internal-sftp'], ['bash -i'], ['apps:list\ntouch FILE'], ['/bin/touch FILE'],
  ])('runs nothing of %j', async (text) => {
    const file = marker();
    const { code, out, err } = await berth.ssh(text.replaceAll('FILE', file));
    expect(code, out + err).not.toBe(0);
    expect(err).toMatch(/ ! {5}\S/);
    await expect(run('test', ['-e', file])).resolves.toMatchObject({ code: 1 });
  });

  it('takes quotes as quotes', async () => {
    expect((await berth.ssh('config:set --no-restart solid "A=x y" \'B=$HOME `id` ;\' C=a\\ b')).code).toBe(0);
    expect((await berth.json<{ vars: object }>(['config:show', 'solid'])).vars).toEqual({ A: 'x y', B: '$HOME `id` ;', C: 'a b' });
    expect((await berth.ssh('apps:info "solid')).err).toContain('without its partner');
  });

  it('refuses a NUL and what is too long, and is there afterwards', async () => {
    // OpenSSH's client carries no NUL; one that does would end at the SSH side's socket, which is asked here
    const nul = await atSshDoor(['apps:info', 'a\0b']);
    expect(nul.at(-1)).toEqual({ exit: 1 });
    expect(JSON.stringify(nul)).toContain('has a NUL byte in it');
    expect((await atSshDoor(['apps:exists', ...Array.from({ length: 3000 }, () => 'x')]))[0]).toEqual({ e: expect.stringContaining('3001 words') as string });
    expect(await atSshDoor(['apps:exists', 'solid'])).toEqual([{ exit: 0 }]);
    // 1 MB: sshd hands it to a login shell, where the kernel's limit for one word may be the first to refuse
    const long = await berth.ssh(`apps:info ${'x'.repeat(100 << 10)}`);
    expect([long.code, long.err]).toEqual([20, expect.stringMatching(/^ ! {5}App x+… does not exist/)]);
    for (const size of [129 << 10, 1 << 20]) {
      const { code, out } = await piped(`apps:info ${'x'.repeat(size)}`);
      expect([code === 0, out]).toEqual([false, '']);
    }
    expect((await berth.ssh('apps:exists solid')).code).toBe(0);
  });

  /** The command through a program that is not limited to one argv word: ssh itself reads its command from argv, so a config file's RemoteCommand carries it. */
  async function piped(command: string): Promise<{ code: number; out: string; err: string }> {
    const config = join(mkdtempSync(join(berth.root, 'work/ssh-')), 'config');
    writeFileSync(config, `Host *\n  RemoteCommand ${command}\n`);
    return run('ssh', ['-F', config, ...sshWords(berth)], { env: berth.gitEnv() });
  }

  /** What the SSH shell says to the API, said by the test. */
  function atSshDoor(argv: readonly string[]): Promise<object[]> {
    return new Promise((yes, no) => {
      const sent = request({ socketPath: join(berth.runDir, 'ssh.sock'), path: '/v1/cli', method: 'POST', headers: { 'content-type': 'application/vnd.berth.frames' } }, (reply) => {
        let text = '';
        reply.setEncoding('utf8').on('data', (piece: string) => { text += piece; }).on('error', no).on('end', () => yes(text.split('\n').filter(Boolean).map((line) => JSON.parse(line) as object)));
      });
      sent.on('error', no);
      sent.end(`${JSON.stringify({ argv, stdin: false, columns: 0, color: false, as: 'key:test' })}\n`);
    });
  }

  it('greets who says nothing, and gives no shell and no terminal', async () => {
    const { code, out } = await berth.ssh('');
    expect([code, out]).toEqual([0, expect.stringMatching(/^=====> Hello, test\. This is Berth/)]);
    const forward = await run('ssh', ['-F', '/dev/null', '-N', '-o', 'ExitOnForwardFailure=yes', '-R', '0:127.0.0.1:1', ...sshWords(berth)], { timeoutMs: 10_000 });
    expect(forward.code).not.toBe(0);
    expect(forward.err).toMatch(/remote port forwarding failed/);
  });

  it('refuses a key that is not known, and one that was removed at once', async () => {
    const key = join(berth.root, 'ssh/id_other');
    expect((await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])).code).toBe(0);
    expect((await berth.ssh('apps:list', { key })).err).toContain('Permission denied');
    const added = await berth.cli(['ssh-keys:add', 'other', `${key}.pub`]);
    expect([added.code, added.out]).toEqual([0, expect.stringMatching(/^SHA256:/)]);
    expect((await berth.ssh('apps:list', { key })).code).toBe(0);
    expect((await berth.cli(['ssh-keys:add', 'other2', `${key}.pub`])).code).toBe(1);
    const tail = sshing(berth, 'events -n 1 -t', key);
    await tail.says(/\d/);
    expect(await berth.json<{ name: string }[]>(['ssh-keys:list'])).toMatchObject([{ name: 'test' }, { name: 'other' }]);
    expect((await berth.cli(['ssh-keys:remove', 'other'])).code).toBe(0);
    expect((await berth.ssh('apps:list', { key })).err).toContain('Permission denied');
    const dirOther = await berth.repo(app());
    expect((await berth.push(dirOther, 'solid', 'main', { key })).output).toContain('Permission denied');
    tail.kill();
    expect((await berth.cli(['ssh-keys:remove', 'other'])).err).toMatch(/other/);
  });

  it.concurrent.each(['tokens:create x', 'tokens:list', 'tokens:revoke x', 'ssh-keys:add x', 'ssh-keys:remove test', 'domains:set-global x.test', 'apps:set --global disable-autocreation true'])('refuses %s: only on the server', async (text) => {
    const { code, out, err } = await berth.ssh(text);
    expect([code, out]).toEqual([1, '']);
    expect(err).toMatch(/can only be run on the server itself/);
  });

  it('reads no file of the server', async () => {
    const { code, err } = await berth.ssh('config:import solid /etc/passwd');
    expect([code, err]).toEqual([1, expect.stringContaining('files are read on your side')]);
  });

  it('does not leave a follower behind whose client is gone', async () => {
    const tail = sshing(berth, 'events -n 1 -t');
    await tail.says(/\d/);
    const followers = (): string[] => readdirSync('/proc').filter((pid) => /^\d+$/.test(pid)).filter((pid) => {
      try { return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('shell.cjs') && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(berth.runDir); } catch { return false; }
    });
    expect(followers().length).toBeGreaterThan(0);
    tail.kill();
    await berth.until('the follower to end', async () => followers().length === 0, 10_000);
  });

  it('ends a connection that speaks no SSH', async () => {
    const socket = createConnection(berth.sshPort, '127.0.0.1');
    const ended = new Promise<void>((done) => socket.on('close', () => done()));
    socket.on('error', () => {});
    socket.end(Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), randomBytes(4096)]));
    socket.resume();
    await ended;
    expect((await berth.ssh('apps:exists solid')).code).toBe(0);
  });
});
