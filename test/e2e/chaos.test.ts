import { expect, it } from 'vitest';
import { chaos } from '../chaos/chaos.js';

/** `npm run chaos` for 200; `CHAOS_SEED` for the same order of kills again. */
const kills = Number(process.env['CHAOS_KILLS'] ?? 25);

it(`${kills} kills at random instants: every deploy ends right, nothing is lost, nothing is left`, { timeout: 120_000 + kills * 15_000 }, async () => {
  const seed = Number(process.env['CHAOS_SEED'] ?? Date.now() % 1_000_000);
  const result = await chaos(kills, seed, () => {});
  console.log(`chaos: ${JSON.stringify(result)}`);
  expect(result.deploys.wrong, `CHAOS_SEED=${seed}`).toEqual([]);
  expect(result.deploys.succeeded).toBeGreaterThan(2);
  expect(result.requests.failed, `CHAOS_SEED=${seed}`).toEqual([]);
  expect(result.requests.served).toBeGreaterThan(100);
  expect(result.orphans).toEqual([]);
  expect(result.stuck).toEqual([]);
});
