import { StepFailure } from '../../src/events/step.js';
import { projectOf, select, type Selected } from '../../src/plugins/builders/select.js';
import { treeOf } from '../../src/plugins/builders/source-tree.js';
import type { Stack } from '../../src/plugins/builders/builder.port.js';

export type Files = Readonly<Record<string, string>>;

/** A stack with short image names, so that snapshots do not change with its version. */
export const stack: Stack = {
  name: 'berth-13', run: 'stack-run', build: 'stack-build', image: (kind, part) => `stack-${kind}-${part}`,
  versions: { python: '3.13', go: '1.24', rust: '1.96', java: '21', ruby: '3.3', php: '8.4', elixir: '1.18' }, user: { name: 'app', uid: 1000, home: '/app' },
};

/** Which builder takes a repository of these texts, and its plan. */
export const choose = (files: Files, settings: Files = {}): Selected => select(projectOf('a1', treeOf(files), settings, stack));

/** Why no builder takes it. */
export function failure(files: Files, settings: Files = {}): StepFailure {
  try { choose(files, settings); } catch (error) { if (error instanceof StepFailure) return error; throw error; }
  throw new Error('was accepted');
}
