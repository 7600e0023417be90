import { expect, it } from 'vitest';
import { chaos } from '../chaos/chaos.js';

/** `npm run chaos` for 200; `CHAOS_SEED` for the same order of kills again, `CHAOS_TALK` to be told of each. */
const kills = Number(process.env['CHAOS_KILLS'] ?? 25);

it(`${kills} kills at random instants and at the borders of steps: every deploy ends right, nothing is lost, nothing is left`, { timeout: 120_000 + kills * 20_000 }, async () => {
  const seed = Number(process.env['CHAOS_SEED'] ?? Date.now() % 1_000_000);
  const result = await chaos(kills, seed, process.env['CHAOS_TALK'] ? (line) => { process.stdout.write(`${line}\n`); } : () => {});
  console.log(`chaos: ${JSON.stringify(result, null, 1)}`);
  const again = `CHAOS_SEED=${seed}`;
  expect(result.deploys.wrong, again).toEqual([]);
  expect(result.deploys.right['succeeded']).toBeGreaterThan(2);
  expect(result.log, again).toEqual([]);
  expect(result.requests.failed, again).toEqual([]);
  expect(result.requests.served).toBeGreaterThan(100);
  expect(result.orphans, again).toEqual([]);
  expect(result.stuck, again).toEqual([]);
});
