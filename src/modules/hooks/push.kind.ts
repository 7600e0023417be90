import { GitRefusal } from '../../drivers/git/git.port.js';
import type { Git } from '../../drivers/git/git.port.js';
import { Rejected } from '../../events/decider.js';
import { StepFailure, type OperationWork } from '../../events/step.js';
import type { Provider } from '../../events/types/webhook.events.js';
import { appStream, pipelineStream } from '../apps/app-context.js';
import { apps } from '../apps/app.decider.js';
import { pipeline } from '../deploys/pipeline.decider.js';
import { NO_SOURCE } from '../deploys/deploys.service.js';
import type { OperationKind } from '../operations/operation.kind.js';
import { pushHooks, pushStream } from './push.decider.js';

export const PUSH_KIND = 'push-hook';
export interface PushInput { readonly app: string; readonly provider: Provider; readonly delivery: string; readonly url: string; readonly branch: string }
interface Looked { readonly sha: string; readonly ref: string }

/** Looks what the branch is now at the other server, and deploys that: a call that is late, or comes again, deploys nothing that is old. */
export const pushKind: OperationKind = {
  queue: 'plugin', steps: ['look'], input: async (_, __, run) => run.input, deadlines: { look: 300_000 },
  ending: async (draft, run) => {
    const { app, provider, delivery, url, branch } = run.input as PushInput;
    const { sha, ref } = run.learnt['look'] as Looked;
    const settle = (deploy: number | null, reason: string | null) => draft.decide(pushHooks, pushStream(app), { type: 'Settle', app, provider, delivery, deploy, reason });
    const { state: owner } = await draft.load(apps, appStream(app));
    if (owner.status !== 'live') throw new Rejected('app.missing', 'The app does not exist any more', null, 20);
    const { state } = await draft.load(pipeline, pipelineStream(app));
    const live = state.releases.find((release) => release.number === state.live?.release)?.spec.sha;
    const open = [state.running, state.waiting.source].find((request) => request?.source.sha === sha);
    if (live === sha && !state.waiting.source && (!state.running || open)) return void await settle(null, `${sha.slice(0, 7)} is what is live`);
    if (open) return void await settle(null, `deploy ${open.deploy} of ${sha.slice(0, 7)} is under way`);
    if (owner.branch === null) await draft.decide(apps, appStream(app), { type: 'SetBranch', branch, why: 'first-push' });
    const deploy = await draft.deploy(app, 'push', `${provider}:${delivery}`.slice(0, 60), { ...NO_SOURCE, sha, branch, origin: { type: 'remote', url, ref } });
    await settle(deploy, deploy === null ? 'there was nothing to deploy' : null);
    return deploy === null ? [] : [{ app, deploy }];
  },
  undone: async (draft, run) => {
    const { app, provider, delivery } = run.input as PushInput;
    await draft.decide(pushHooks, pushStream(app), { type: 'Settle', app, provider, delivery, deploy: null, reason: `the repository could not be looked at: see berth operations push-${app}` });
  },
};

/** The step: which commit the branch is at. */
export function look(git: Pick<Git, 'remoteRef'>): OperationWork<PushInput, Looked> {
  return async ({ input: { url, branch }, log, signal }) => {
    log.info(`Looking at ${branch} of ${url}`);
    try {
      const found = await git.remoteRef(url, branch, signal);
      log.detail(`${found.ref} is ${found.sha.slice(0, 7)}`);
      return { sha: found.sha, ref: found.ref };
    } catch (error) {
      if (!(error instanceof GitRefusal)) throw error;
      throw new StepFailure(`git.${error.problem}`, error.message, error.hint, error.problem === 'network' ? 'machine' : 'user', { cause: error });
    }
  };
}
