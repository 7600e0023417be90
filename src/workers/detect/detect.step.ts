import { stat } from 'node:fs/promises';
import { DETECT_CONFIG_KEYS, type Stack } from '../../plugins/builders/builder.port.js';
import { BUILDPACKS } from '../../plugins/builders/buildpacks.js';
import { stackOf } from '../../plugins/builders/foreign-stack.js';
import { namedPaths, NothingFits, projectOf, select } from '../../plugins/builders/select.js';
import { readSourceTree } from '../../plugins/builders/source-tree.js';
import { stackFor } from '../../drivers/stack/stack-for.js';
import type { Builders } from '../../modules/plugins/builders.js';
import { StepFailure, type StepLog, type StepWork } from '../../events/step.js';

export { DETECT_CONFIG_KEYS, stackFor };

const none = (): Promise<Builders> => Promise.resolve({ all: [], wants: () => false, ask: () => Promise.resolve({ all: [], told: [] }) });

/**
 * The detect step: reads the source archive once and decides how it is built. Touches nothing, so it may run any number of times.
 * Fails with `detect.*`: the app's own fault, but for `detect.no-source` (the archive is gone) and a damaged archive.
 */
export function detectStep(stack: Stack = stackFor(), plugins: () => Promise<Builders> = none): StepWork<'detect'> {
  return async ({ input, log, signal }) => {
    const started = performance.now();
    await stat(input.source).catch((error: Error) => { throw new StepFailure('detect.no-source', `the source archive is gone: ${input.source}`, 'push again, or deploys:retry from the clone step', 'machine', { cause: error }); });
    const builders = await plugins();
    const named = namedPaths(input.settings);
    const tree = await readSourceTree(input.source, (path) => named.includes(path) || builders.wants(path), signal);
    log.call('source.read', performance.now() - started, `${tree.paths.length} files`);
    const project = projectOf(input.app, tree, input.settings, stackOf(input.settings, stack));
    const said = await builders.ask(project, { id: input.app, name: input.name }, signal, (line) => log.output(line));
    for (const { builder, fault } of said.told) if (fault !== null) log.warn(`${builder.name}, a plugin's builder, did not answer: ${fault}`);
    const chosen = look(() => select(project, BUILDPACKS, said), log);
    log.info(`${chosen.title} detected`);
    log.detail(chosen.reason);
    for (const line of chosen.details) log.detail(line);
    for (const line of chosen.warnings) log.warn(line);
    for (const { builder, answer } of chosen.asked) log.output(`asked ${builder}: ${answer}`);
    for (const line of chosen.plan.dockerfile?.split('\n') ?? []) log.output(line);
    return chosen.plan;
  };
}

/** When nothing fits, the push tells what each builder looks for. */
function look<T>(selected: () => T, log: StepLog): T {
  try { return selected(); }
  catch (error) {
    if (error instanceof NothingFits) { log.info('No builder takes this repository; they look for'); for (const line of error.lookedFor) log.detail(line); }
    throw error;
  }
}
