import { describe, expect, it } from 'vitest';
import { MUTANTS } from './mutants.js';
import { inMacrotask, simulate, tell } from './run.js';

/** `SEEDS=20000 npx vitest run --project pure test/simulation`; more of them: `npm run simulate -- --seeds 100000`. */
const SEEDS = Number(process.env['SEEDS'] ?? 3000);
const SLICE = 250;
/** seeds that once broke a law, and the bug they found */
const STORIES: readonly (readonly [number, string])[] = [
  [59, 'the last wait after a machine fault was a minute'], [150, 'two claims of one ticket by one process had one owner'], [130, 'a cancel while the old containers were being stopped'],
  [420, 'a cancel, and the sweeper took what served'], [509, 'the sweeper took what the router still pointed to'], [660, 'a switch that was cancelled was left, for the next deploy had begun'],
  [765, 'a worker that stood still blamed the app'], [882, 'a deploy of domains routed to old addresses'], [2028, 'a restarted container was drained'], [2083, 'numbers taken for the order of deploys'],
  [4053, 'deployed and destroyed at once'], [4507, 'another container had the address'], [5534, 'what served alone was taken for drift'], [6785, 'retried and destroyed at once'], [8228, 'an answer that was slept over'],
  [9833, 'a late release attempt removed what a later one had started'], [30532, 'destroy looked twice'], [31780, 'a late clone attempt removed the source of a later one'], [37732, 'a cancelled repair took away what served alone'], [136069, 'another container answered from the old address'], [438962, 'a sweeper that stood still wrote old addresses'], [481545, 'a switch that ended just as it was cancelled was not put back'], [499914, 'a container that is gone was routed to beside one that runs'],
  [599, 'an image was swept away while a build took it over'], [3386, 'a switch that was put back brought a cancelled deploy\'s containers with it'], [196814, 'a switch that was put back brought an old address with it'],
];
const seen = new Map<string, number>();

async function lives(seed: number): Promise<void> {
  const result = await inMacrotask(() => simulate(seed));
  if (result.violation) expect.fail(`${tell(result)}\n  npm run simulate -- --seed ${seed} --trace\n`);
  for (const [what, n] of result.coverage) seen.set(what, (seen.get(what) ?? 0) + n);
}

describe('whatever dies, every deploy ends right', () => {
  it.each(Array.from({ length: Math.ceil(SEEDS / SLICE) }, (_, i) => i * SLICE + 1))(`${SLICE} seeds from %i`, { timeout: 120_000 }, async (from) => {
    for (let seed = from; seed < from + SLICE; seed += 1) await lives(seed);
  });

  it.each(STORIES)('seed %i: %s', (seed) => lives(seed));

  it('ten deploys run when Redis goes away for a minute: all end well, and no step does anything twice', { timeout: 120_000 }, async () => {
    for (let seed = 1; seed <= 60; seed += 1) {
      const result = await inMacrotask(() => simulate(seed, { story: 'ten deploys, Redis away for 60 s' }));
      if (result.violation) expect.fail(`${tell(result)}\n  npm run simulate -- --seed ${seed} --story --trace\n`);
      expect([result.deploys, result.coverage.get('deploy succeeded')]).toEqual([10, 10]);
    }
  });

  it('and a step that did would be found', async () => {
    const mutant = MUTANTS.find(({ name }) => name === 'a claim does not look at the lease')!;
    const found = new Set<string | undefined>();
    for (let seed = 1; seed <= 30; seed += 1) found.add((await inMacrotask(() => simulate(seed, { mutant, story: 'ten deploys, Redis away for 60 s' }))).violation?.law);
    expect([...found].some((law) => law === 'twice' || law === 'lease')).toBe(true);
  });

  it('a seed gives the same run again, to the last step', async () => {
    const hashes = new Set<string>();
    for (let seed = 1; seed <= 40; seed += 1) {
      const [one, two] = [await inMacrotask(() => simulate(seed)), await inMacrotask(() => simulate(seed))];
      expect([two.hash, two.steps, two.virtualMs]).toEqual([one.hash, one.steps, one.virtualMs]);
      hashes.add(one.hash);
    }
    expect(hashes.size).toBe(40);
  });

  it('the runs go far enough to mean something', () => {
    if (SEEDS < 2000) return;
    const steps = ['clone', 'detect', 'build', 'release', 'route'];
    for (const what of [
      ...['succeeded', 'failed', 'cancelled', 'superseded', 'covered'].map((s) => `deploy ${s}`), 'job retried', 'job retried as a new deploy', 'job discarded', 'built before', 'step given back: release',
      ...steps.map((s) => `step claimed again: ${s}`), ...['clone', 'build', 'release', 'route'].map((s) => `step failed: ${s} machine`), ...['clone', 'build', 'release', 'route'].map((s) => `two at work: ${s}`),
      ...['build', 'release', 'route', 'clone'].map((s) => `cancelled in ${s}`), 'cancelled while it waited', 'queue gave a ticket to two', 'queue lost a ticket', 'stood still while it changed the router',
      ...['push', 'rollback', 'config', 'scale', 'restart', 'domains', 'repair', 'rebuild'].map((k) => `asked for: ${k}`), 'user: destroy', 'user: rename',
    ]) expect(seen.get(what) ?? 0, what).toBeGreaterThan(0);
    // killed or stopped at any await: each step at many of them, before and after
    for (const [step, least] of [['clone', 4], ['detect', 2], ['build', 4], ['release', 14], ['route', 18]] as const) {
      expect([...seen.keys()].filter((what) => what.startsWith(`interrupted ${step} `)).length, step).toBeGreaterThanOrEqual(least);
    }
  });
});

describe('a planted bug is found', () => {
  it.each(MUTANTS)('$name', { timeout: 120_000 }, async (mutant) => {
    const most = mutant.within ?? 500;
    for (let seed = 1; seed <= most; seed += 1) if ((await inMacrotask(() => simulate(seed, { mutant }))).violation) return;
    expect.fail(`not found in ${most} seeds`);
  });
});
