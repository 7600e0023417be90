import { describe, expect, it } from 'vitest';
import { StepFailure } from '../../events/step.js';
import { LastWords } from './last-words.js';

const failed = new StepFailure('build.failed', 'the build failed in step 3/5: RUN npm ci: exit code 1', 'its output is above');
const heard = (...lines: string[]): LastWords => { const words = new LastWords(); for (const line of lines) words.hear(line); return words; };

describe('why a generated command ended a build', () => {
  it('is what it said last, not the step', () => {
    const words = heard("#8 [build 3/5] RUN npm ci || { echo ' !     not this'; exit 1; }", '#8 0.412 npm error', '#8 0.500  !     package-lock.json must match package.json: npm install, and commit both', '#8 ERROR: exit code: 1');
    expect(words.explain(failed)).toMatchObject({ code: 'build.failed', fault: 'user', message: 'package-lock.json must match package.json: npm install, and commit both', hint: 'its output is above' });
  });
  it('with the hint of the next line', () => {
    expect(heard('#8 0.5  !     there is no Node.js 99', '#7 0.5 beside it', '#8 0.5        newest of each line: 24.1.0', '#8 ERROR: exit code: 1').explain(failed)).toMatchObject({ message: 'there is no Node.js 99', hint: 'newest of each line: 24.1.0' });
    expect(heard(' !     by the legacy builder', '       and its hint').explain(failed)).toMatchObject({ message: 'by the legacy builder', hint: 'and its hint' });
  });
  it('of the step that failed, not of one that only warned or was ended with it', () => {
    const lines = ['#5 0.1  !     a rule is left out', '#6 0.1  !     was waiting', '#6 ERROR: context canceled'];
    expect(heard(...lines, '#8 0.5 syntax error', '#8 ERROR: exit code: 1').explain(failed)).toBe(failed);
    expect(heard(...lines, '#8 0.5  !     the cause', '#8 ERROR: exit code: 1').explain(failed)).toMatchObject({ message: 'the cause' });
  });
  it('leaves everything else as it is', () => {
    expect(heard('#8 0.5 nothing').explain(failed)).toBe(failed);
    const full = new StepFailure('build.disk-full', 'x', null, 'machine');
    expect(heard(' !     said').explain(full)).toBe(full);
    const other = new Error('x');
    expect(heard(' !     said').explain(other)).toBe(other);
  });
});
