/** One-line change of a Dockerfile app: `git push` → the new version answers through the router, beside raw Docker in the same run. `bench/README.md` */
import { appendFileSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run as runProgram, startBerth } from '../test/lib/berth-fixture.js';
import { answering, get, machine, option, random, rawRun, removeImages, sleep, Table, contextOf, timed, tinyImage, verdict, type RawRun } from './lib.js';

const RUNS = option('runs', 10);
const CALLS = process.argv.includes('--calls');
const name = `bench${random()}`;
const base = await tinyImage(`${name}/base:1`);
const files = (text: string): Record<string, string> => ({
  Dockerfile: `FROM ${base}\nEXPOSE 5000\nRUN mkdir /www && echo made > /www/made\nCOPY index.html /www/index.html\nCMD ["httpd", "-f", "-p", "5000", "-h", "/www"]\n`,
  'index.html': `${text}\n`,
});
const berth = await startBerth({ instance: name });
const times = { answers: [] as number[], returns: [] as number[], ssh: [] as number[], plain: [] as number[], legacy: [] as RawRun[], buildkit: [] as RawRun[] };
const steps = new Map<string, number[]>();
const note = (step: string, ms: number): void => { steps.set(step, [...(steps.get(step) ?? []), ms]); };

interface StepRow { step: string; queuedAt: number; startedAt: number | null; endedAt: number | null }

/** What a push costs before Berth comes in: the same sshd, a key that leads to git alone. */
async function plainGit(): Promise<{ key: string; repo: string }> {
  const key = join(berth.root, 'ssh/id_plain');
  const repo = join(berth.root, 'work/plain.git');
  for (const [file, args] of [['ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]], ['git', ['init', '-q', '--bare', '-b', 'main', repo]]] as const) {
    const { code, err } = await runProgram(file, args);
    if (code !== 0) throw new Error(err);
  }
  const shell = join(berth.root, 'ssh/plain.sh');
  writeFileSync(shell, `#!/bin/sh\n[ "$SSH_ORIGINAL_COMMAND" = true ] && exit 0\nexec git receive-pack ${repo}\n`, { mode: 0o755 });
  appendFileSync(join(berth.root, 'ssh/authorized_keys'), `restrict,command="${shell}" ${readFileSync(`${key}.pub`, 'utf8')}`);
  return { key, repo };
}

try {
  const plain = await plainGit();
  const dir = await berth.repo(files('version 0'));
  const first = await berth.push(dir, 'tiny');
  if (first.code !== 0) throw new Error(first.output);
  for (let run = 0; run <= RUNS; run++) {
    const raw = {} as Record<'legacy' | 'buildkit', RawRun>;
    for (const builder of ['buildkit', 'legacy'] as const) {
      const text = `raw ${builder} ${name} ${run}`;
      raw[builder] = await rawRun({ tag: `${name}/raw:${builder}`, context: await contextOf(files(text)), builder, port: 5000, right: (body) => body.startsWith(text) });
    }
    const text = `version ${run + 1}.`;
    await berth.commit(dir, files(text));
    await sleep(300);
    const ssh = await timed(() => berth.ssh('true', { key: plain.key }));
    const bare = await timed(() => berth.push(dir, 'plain', 'main', { key: plain.key }));
    if (ssh.value.code !== 0 || bare.value.code !== 0) throw new Error(ssh.value.err + bare.value.output);
    const began = Date.now();
    const seen = timed(() => answering(() => get('127.0.0.1', berth.httpPort, '/', `tiny.${berth.domain}`), (body) => body.startsWith(text), 120_000, 20)); // each question costs the old version a fork
    const pushed = await timed(() => berth.push(dir, 'tiny'));
    if (pushed.value.code !== 0) throw new Error(pushed.value.output);
    const answer = await seen;
    if (run === 0) continue; // caches fill
    times.ssh.push(ssh.ms);
    times.plain.push(bare.ms);
    times.answers.push(answer.ms);
    times.returns.push(pushed.ms);
    times.legacy.push(raw.legacy);
    times.buildkit.push(raw.buildkit);
    const { steps: rows, tookMs, ...deploy } = await berth.json<{ steps: StepRow[]; requestedAt: string; tookMs: number }>(['deploys:show', 'tiny', String(run + 2)]);
    const requestedAt = Date.parse(deploy.requestedAt);
    note('ssh, git, hook → requested', requestedAt - began);
    for (const row of rows) {
      note(`${row.step}: waits`, (row.startedAt ?? NaN) - row.queuedAt);
      note(`${row.step}: works`, (row.endedAt ?? NaN) - (row.startedAt ?? NaN));
    }
    note('ended → git push returns', began + pushed.ms - requestedAt - tookMs);
    for (const file of globSync(join(berth.root, 'logs/deploys/*', String(run + 2), '*.log'))) {
      for (const { s: step, m, k } of readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as { s: string; m: string; k?: string })) {
        const call = k === 'c' ? /^(.+?) (\d+)ms(?: (beside|switch|settle))?/.exec(m) : null;
        if (call && CALLS) note(`${step}· ${call[1]}${call[3] ? ` (${call[3]})` : ''}`, Number(call[2]));
      }
    }
    if (process.argv.includes('--trace') && run === RUNS) console.log((await berth.cli(['trace', 'tiny'])).out);
  }
  const table = new Table(`push, ${RUNS} runs interleaved`);
  const total = (runs: readonly RawRun[]): number[] => runs.map((run) => run.total);
  const floor = total(times.buildkit);
  for (const builder of ['buildkit', 'legacy'] as const) {
    table.add(`raw ${builder}: build + create + start + 200`, total(times[builder]), floor);
    for (const part of ['build', 'create', 'start', 'answer'] as const) table.add(`    ${part}`, times[builder].map((run) => run[part]));
  }
  table.add('ssh true', times.ssh, floor);
  table.add('plain git push over the same sshd', times.plain, floor);
  const answers = table.add('git push → new version through the router', times.answers, floor);
  table.add('git push → git push returns', times.returns, floor);
  for (const [step, all] of steps) table.add(`    ${step}`, all);
  table.print();
  for (const builder of ['buildkit', 'legacy'] as const) {
    const p50 = total(times[builder]).toSorted((a, b) => a - b)[Math.floor(RUNS / 2)]!;
    verdict(`push against raw ${builder} (1.25 × ${p50.toFixed(0)} + 500)`, answers.p50, 1.25 * p50 + 500, 'ms');
  }
  console.log(machine());
} finally {
  await berth.stop();
  await removeImages(`${name}/`);
}
