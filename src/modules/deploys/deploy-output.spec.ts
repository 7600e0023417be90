import { describe, expect, it } from 'vitest';
import { ofFailedStep } from './deploy-output.js';

describe('the last lines of a build', () => {
  it('are what the failed step printed', () => {
    expect(ofFailedStep(['#1 [internal] load remote build context', '#4 [1/3] FROM base', '#5 [2/3] RUN make', '#4 CACHED', '#5 0.179 compiling', '#6 0.200 another stage', '#5 0.180 [warn] 1.5 of 2', '#5 ERROR: executor failed running [make]: exit code: 3'])).toEqual(['compiling', '[warn] 1.5 of 2']);
  });

  it('are all of them where no step says that it failed: another builder', () => {
    expect(ofFailedStep(['Step 2/3 : RUN make', 'compiling'])).toEqual(['Step 2/3 : RUN make', 'compiling']);
    expect(ofFailedStep([])).toEqual([]);
  });
});
