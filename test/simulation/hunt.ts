import { MUTANTS } from './mutants.js';
import { inMacrotask, simulate } from './run.js';

/** How many seeds each planted bug takes: `node scripts/simulate.mjs --hunt`. */
export async function hunt(most: number, from = 1): Promise<{ name: string; seeds: number | null; law: string }[]> {
  const found: { name: string; seeds: number | null; law: string }[] = [];
  for (const mutant of MUTANTS) {
    let end: { seeds: number | null; law: string } = { seeds: null, law: '' };
    for (let seed = from; seed < from + most; seed += 1) {
      const { violation } = await inMacrotask(() => simulate(seed, { mutant }));
      if (violation) {
        end = { seeds: seed - from + 1, law: violation.law };
        break;
      }
    }
    found.push({ name: mutant.name, ...end });
  }
  return found;
}
