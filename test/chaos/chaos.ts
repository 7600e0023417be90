import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { baseImage, left, Poller, type DeployInfo } from '../e2e/berth.kit.js';

/** What a run of chaos found. */
export interface ChaosResult {
  readonly seed: number;
  readonly kills: Readonly<Record<string, number>>;
  readonly deploys: { readonly started: number; readonly succeeded: number; readonly superseded: number; readonly wrong: readonly string[] };
  /** requests to the app that was live all the time; those that failed while the router itself was down are counted apart */
  readonly requests: { readonly served: number; readonly failed: readonly string[]; readonly routerDown: number };
  readonly orphans: readonly string[];
  readonly stuck: readonly string[];
  /** ms from a kill to the end of the deploy that it hit */
  readonly slowestEndMs: number;
}

const OVER = new Set(['succeeded', 'failed', 'cancelled', 'superseded']);

/** Mulberry32: the same kills in the same order for a seed; what they hit depends on the machine. */
function random(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const TARGETS = ['api', 'clone-1', 'detect-1', 'build-1', 'release-1', 'route-1', 'redis', 'flushall', 'router'] as const;

/**
 * Real processes, real Redis, real HAProxy, real engine: two apps are deployed over and over while parts of Berth are killed at random
 * instants; a client asks the app that is live a hundred times a second throughout. Nobody helps.
 */
export async function chaos(kills: number, seed: number, say: (line: string) => void): Promise<ChaosResult> {
  const berth = await startBerth();
  const rnd = random(seed);
  const killed: Record<string, number> = {};
  try {
    const app = await baseImage(berth);
    const dirs = { one: await berth.repo(app({ version: '0' })), two: await berth.repo(app({ version: '0' })) };
    for (const name of ['one', 'two'] as const) {
      const { code, output } = await berth.push(dirs[name], name);
      if (code !== 0) throw new Error(`the first push failed: ${output}`);
    }
    const poller = new Poller(berth, 'one', false);
    const routerDown: [number, number][] = [];
    let slowest = 0;
    let version = 0;
    let over = false;
    const work = (['one', 'two'] as const).map(async (name) => {
      while (!over) {
        version += 1;
        await berth.commit(dirs[name], app({ version: String(version) }));
        const began = Date.now();
        await berth.push(dirs[name], name, 'main', { timeoutMs: 120_000 });
        slowest = Math.max(slowest, Date.now() - began);
      }
    });
    for (let i = 0; i < kills; i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 250 + rnd() * 1750));
      const target = TARGETS[Math.floor(rnd() * TARGETS.length)]!;
      killed[target] = (killed[target] ?? 0) + 1;
      say(`kill ${i + 1}/${kills}: ${target}`);
      if (target === 'flushall') await flushall(berth);
      else if (target === 'router') {
        const from = Date.now();
        const { starts } = berth.program('router');
        berth.kill('router');
        // its orphaned worker may answer for a moment more: only a new one counts
        await berth.until('the router to be back', async () => berth.program('router').starts > starts && (await berth.http('one')).status === 200, 30_000);
        routerDown.push([from - 50, Date.now() + 50]);
      } else berth.kill(target);
    }
    over = true;
    await Promise.all(work);
    const deploys = await berth.until('every deploy to end', async () => {
      const all: DeployInfo[] = [...(await berth.json<DeployInfo[]>(['deploys', 'one', '-n', '1000'])), ...(await berth.json<DeployInfo[]>(['deploys', 'two', '-n', '1000']))];
      return all.every((d) => OVER.has(d.status)) && all;
    }, 60_000);
    await poller.stop();
    const stuck = await berth.stuck();
    const orphans = await orphansOf(berth);
    const down = (line: string): boolean => {
      const at = Date.parse(`${new Date().toISOString().slice(0, 11)}${line.slice(0, 12)}Z`);
      return routerDown.some(([from, to]) => at >= from && at <= to);
    };
    const failed = poller.failures.filter((line) => !down(line));
    return {
      seed, kills: killed, stuck, orphans, slowestEndMs: slowest,
      deploys: {
        started: deploys.length, succeeded: deploys.filter((d) => d.status === 'succeeded').length, superseded: deploys.filter((d) => d.status === 'superseded').length,
        wrong: deploys.filter((d) => d.status === 'failed' || d.status === 'cancelled').map((d) => `${d.kind} ${d.deploy}: ${d.status} ${JSON.stringify(d.failure)}`),
      },
      requests: { served: poller.ok, failed, routerDown: poller.failures.length - failed.length },
    };
  } finally {
    await berth.stop();
  }
}

async function flushall(berth: Fixture): Promise<void> {
  const { Redis } = await import('ioredis');
  const redis = new Redis({ path: `${berth.runDir}/redis.sock`, maxRetriesPerRequest: 1, retryStrategy: () => null });
  redis.on('error', () => {}); // it may be down from the kill before: then it is as empty
  await redis.flushall().catch(() => {});
  redis.disconnect();
}

/** Containers beyond one live web of each app, and source folders beyond those kept for the live deploys, once the sweeper had its time. */
async function orphansOf(berth: Fixture): Promise<string[]> {
  try {
    await berth.until('the sweeper to be done', async () => (await left(berth)).containers.length === 2, 30_000);
    return [];
  } catch {
    return (await left(berth)).containers.map((id) => `container ${id.slice(0, 12)}`);
  }
}
