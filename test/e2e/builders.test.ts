import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { DockerDriver } from '../../src/drivers/engine/docker.driver.js';
import { StackImages } from '../../src/drivers/stack/stack-images.js';
import { stackImagesIn } from '../../src/drivers/stack/stack.js';
import type { BuildOutput } from '../../src/events/types/deploy.events.js';
import { StepFailure } from '../../src/events/step.js';
import { buildStep } from '../../src/workers/build/build.step.js';
import { detectStep } from '../../src/workers/detect/detect.step.js';
import { shellCommand } from '../../src/workers/release/command.js';
import { archive, examples, type Example } from '../builders/examples.js';
import { mark, random, removeAll, stepContext } from './engine.kit.js';

const engine = new DockerDriver(process.env['BERTH_DOCKER'] ?? '/var/run/docker.sock');
const instance = `t${process.env['BERTH_TEST_RUN'] ?? ''}${random()}`;
const bundle = process.env['BERTH_BUILD_CA'] ?? '/etc/ssl/certs/ca-certificates.crt';
const folder = mkdtempSync(join(tmpdir(), 'berth-builders-'));
const stack = new StackImages(engine, join(import.meta.dirname, '../../dist/stack-build.mjs'));
const all = process.env['BERTH_BUILDERS'] === 'all';
const only = process.env['BERTH_BUILDERS_ONLY'];

afterEach(async () => { await removeAll(engine, instance); });
afterAll(() => { rmSync(folder, { recursive: true, force: true }); });

async function make(example: Example, lines: string[]): Promise<BuildOutput> {
  const { name, expect: wanted } = example;
  const source = join(folder, `${name}.tar`);
  const app = `${instance}-${name}`;
  const config = { instance, buildCa: existsSync(bundle) ? bundle : null, buildProxy: {} };
  await archive(example, source);
  const detect = stepContext('detect', { app, name, source, configVersion: 1, settings: { ...wanted.settings, ...wanted.config } }, { app });
  const plan = await detectStep()(detect).finally(() => lines.push(...detect.lines));
  const build = stepContext('build', { app, name, source, plan, configVersion: 1, limits: { memory: 0, cpus: 0, timeoutMs: 900_000 } }, { app });
  try {
    await stack.ensure(stackImagesIn(plan.dockerfile ?? ''), build.log, build.signal);
    return await buildStep({ engine, config, env: () => wanted.config ?? {}, mark })(build);
  } finally { lines.push(...build.lines); }
}

const run = (name: string, image: BuildOutput, cmd: readonly string[] | null, env: Readonly<Record<string, string>>): Promise<string> =>
  engine.createContainer({ name: `${instance}.${name}`, image: image.imageId, cmd, env, labels: { instance }, network: null, memory: 512 * 1024 ** 2, cpus: 0, pids: 0, restart: 'no' });

describe(all ? 'every example app is built and served' : 'some example apps are built and served', () => {
  for (const example of examples().filter(({ name, expect: { run: when } }) => (only === undefined ? when === 'always' || all && when === 'all' : name.startsWith(only) && when !== 'plan'))) {
    const { name, expect: wanted } = example;
    it(`${name}: ${wanted.about}`, { timeout: 1_200_000 }, async () => {
      const lines: string[] = [];
      const started = performance.now();
      const made = await make(example, lines).catch((error: unknown) => { if (error instanceof StepFailure) return error; throw error; });
      if (wanted.fails !== undefined) {
        expect(made).toBeInstanceOf(StepFailure);
        expect((made as StepFailure).code).toBe(wanted.fails.code);
        if (wanted.fails.says !== undefined) expect([(made as StepFailure).message, (made as StepFailure).hint, ...lines.filter((line) => !/#\d+ \[/.test(line))].join('\n'), 'what was said, not the command that could say it').toContain(wanted.fails.says);
        const words = lines.map((line) => /#\d+ \d+\.\d+  !     (.*)$/.exec(line)?.[1]).findLast((found) => found !== undefined);
        if (words !== undefined) expect((made as StepFailure).message).toBe(words);
        return;
      }
      if (made instanceof StepFailure) throw new Error(`${made.message}\n${lines.slice(-60).join('\n')}`);
      const web = made.processTypes['web'];
      const port = made.exposed[0] ?? 5000;
      expect(web, 'there is a web process').not.toBeUndefined();
      const id = await run(name, made, web === null ? null : shellCommand(web!), { PORT: String(port), ...wanted.config });
      await engine.startContainer(id);
      const base = `http://${(await engine.inspectContainer(id))!.ip}:${port}`;
      for (let left = 300; ; left -= 1) {
        try { const { status } = await fetch(base, { redirect: 'manual' }); if (status !== 502 || left === 0) break; } catch (error) { // a proxy in front of the app is up first
          if (left === 0 || !(await engine.inspectContainer(id))!.running) {
            const said: string[] = [];
            for await (const line of engine.logs(id, { follow: false })) said.push(line.text);
            throw new Error(`it does not answer: ${String(error)}\n${said.slice(-40).join('\n')}`, { cause: error });
          }
        }
        await sleep(100);
      }
      for (const asked of wanted.http ?? []) {
        const answer = await fetch(base + asked.path, { redirect: 'manual' });
        const text = await answer.text();
        expect(`${asked.path} ${answer.status}`).toBe(`${asked.path} ${asked.status ?? 200}`);
        if (asked.contains !== undefined) expect(text).toContain(asked.contains);
        if (asked.lacks !== undefined) expect(text).not.toContain(asked.lacks);
        for (const [key, value] of Object.entries(asked.headers ?? {})) expect(answer.headers.get(key)).toBe(value);
      }
      for (const path of wanted.absent ?? []) {
        const code = await engine.runContainer({ name: `${instance}.look`, image: made.imageId, cmd: ['/bin/sh', '-c', '[ ! -e "$0" ]', path], env: {}, labels: { instance }, network: 'none', memory: 0, cpus: 0, pids: 0, restart: 'no' }, () => {}, new AbortController().signal);
        expect(`${path}: ${code.exitCode === 0 ? 'absent' : 'there'}`).toBe(`${path}: absent`);
      }
      console.log(`${name}: ${((performance.now() - started) / 1000).toFixed(1)} s, ${Math.round(made.bytes / 1e6)} MB`);
    });
  }
});
