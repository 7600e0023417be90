import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { StepFailure } from '../../src/events/step.js';
import { namedPaths, projectOf, select } from '../../src/plugins/builders/select.js';
import { readSourceTree } from '../../src/plugins/builders/source-tree.js';
import { archive, examples } from '../builders/examples.js';
import { stack } from '../builders/kit.js';

const folder = mkdtempSync(join(tmpdir(), 'berth-builders-'));
afterAll(() => { rmSync(folder, { recursive: true, force: true }); });

describe('every example app is detected and planned', () => {
  for (const example of examples()) {
    const { name, expect: wanted } = example;
    it(`${name}: ${wanted.about}`, async () => {
      if (wanted.run === 'plan' && wanted.fails?.at !== 'plan') expect(wanted.why, 'an example that is only planned says why').toBeTruthy();
      const file = join(folder, `${name}.tar`);
      const settings = { ...wanted.settings, ...wanted.config };
      await archive(example, file);
      const tree = await readSourceTree(file, namedPaths(settings));
      const look = () => select(projectOf('a1', tree, settings, stack));
      if (wanted.fails?.at === 'plan') {
        let error: unknown = null;
        try { look(); } catch (thrown) { error = thrown; }
        expect(error).toBeInstanceOf(StepFailure);
        const { code, message, hint } = error as StepFailure;
        expect(code).toBe(wanted.fails.code);
        if (wanted.fails.says !== undefined) expect(`${message}\n${hint}`).toContain(wanted.fails.says);
        return;
      }
      const chosen = look();
      expect(chosen.plan.buildpack ?? chosen.plan.builder).toBe(wanted.detects);
      if (wanted.plan !== undefined) expect(chosen.plan).toMatchObject(wanted.plan);
      for (const text of wanted.details ?? []) expect(chosen.details.join('\n')).toContain(text);
      for (const text of wanted.warnings ?? []) expect(chosen.warnings.join('\n')).toContain(text);
      for (const text of wanted.dockerfile ?? []) expect(chosen.plan.dockerfile).toContain(text);
      // equal projects give equal plans
      expect(look().plan).toEqual(chosen.plan);
    });
  }
});
