import type { GitPushRequest, RefUpdate } from '../../cli/protocol.js';
import { Rejected } from '../../events/decider.js';
import { createApp } from '../apps/apps.commands.js';
import { appStream } from '../apps/app-context.js';
import { apps, checkAppName } from '../apps/app.decider.js';
import { FrameOut } from '../commands/out.js';
import type { Core } from '../core.js';
import { DeployPrinter } from '../deploys/deploy-output.js';
import { followDeploy } from '../deploys/follow.js';
import { NO_SOURCE } from '../deploys/deploys.service.js';
import { change } from '../draft.js';
import type { AppRow } from '../read/board.projection.js';
import { settleBranch } from '../sources/branches.js';
import { requireRoom } from '../server/room.js';

const ZERO = /^0+$/;
/** most bytes of one push */
const PUSH_MAX = '2g';

/** The repository that a git client asked for; a push makes the app when there is none. @throws Rejected */
export async function openRepository(core: Core, request: { service: string; repo: string; actor: string }): Promise<{ repo: string; app: string; name: string; config: string[] }> {
  const { repo: name, service, actor } = request;
  checkAppName(name);
  if (!core.git) throw new Rejected('git.none', 'This server has no git');
  if (service === 'git-receive-pack') await requireRoom(core);
  const board = await core.board.now();
  let app = board.names[name];
  if (app === undefined) {
    if (service !== 'git-receive-pack') throw new Rejected('app.missing', `App ${name} does not exist`, `git push makes it`, 20);
    if (board.server.settings['disable-autocreation'] === 'true') throw new Rejected('app.no-autocreation', `App ${name} does not exist, and pushes do not make apps here`, `on the server: berth apps:create ${name}`, 20);
    app = await createApp({ core, actor }, name, 'git push').catch(async (error: unknown) => {
      const other = (await core.board.now()).names[name]; // two first pushes at once
      if (other === undefined) throw error;
      return other;
    });
  }
  const branch = (await core.board.now()).apps[app]?.branch;
  // the deploy branch is moved by our own hook, once its commit serves
  const moved = branch ? [branch] : ['main', 'master'];
  const config = [
    `receive.maxInputSize=${PUSH_MAX}`, 'receive.shallowUpdate=true', 'receive.autogc=false', 'receive.fsckObjects=true', 'transfer.hideRefs=refs/berth',
    ...moved.map((each) => `receive.procReceiveRefs=refs/heads/${each}`),
  ];
  const repo = await core.git.init(app);
  await settleBranch(core, app);
  return { repo, app, name, config };
}

type Verdict = { deploy: RefUpdate; branch: string; first: boolean } | { say: string[]; exit: number };

/** Which of the pushed refs deploys. Pure. */
export function judge(name: string, branch: string | null, updates: readonly RefUpdate[]): Verdict {
  const heads = updates.filter((u) => u.ref.startsWith('refs/heads/'));
  const of = (wanted: string): RefUpdate | undefined => heads.find((u) => u.ref === `refs/heads/${wanted}`);
  const chosen = branch ?? ['main', 'master'].find((candidate) => of(candidate));
  const update = chosen === undefined ? undefined : of(chosen);
  if (update && ZERO.test(update.new)) return { say: [`${chosen} is the deploy branch of ${name}: it cannot be deleted`, `choose another first: berth git:set ${name} deploy-branch <branch>`], exit: 1 };
  if (update && chosen !== undefined) return { deploy: update, branch: chosen, first: branch === null };
  const pushed = heads.find((u) => !ZERO.test(u.new))?.ref.slice('refs/heads/'.length);
  if (pushed === undefined) return { say: [], exit: 0 }; // tags, deletions
  const wanted = branch ?? 'main';
  return {
    say: [`WARNING: ${pushed} was stored, but not deployed: ${branch === null ? 'main or master' : branch} is what deploys here.`, `To deploy it: git push <remote> ${pushed}:${wanted}`, `To let it deploy from now on: berth git:set ${name} deploy-branch ${pushed}`],
    exit: 0,
  };
}

/** Output that was handed to the pusher of a deploy, and whoever listens now: a later push of the same commit goes on there. */
interface Listener { readonly push: string; readonly end: (exit: number, message: string) => void }

/** Where a pusher's output goes: frames that are counted, and notes that are not. */
export interface PushOutput { output(text: string): void; note(text: string): void }

/** Pushes under way in this process: by `<app>.<deploy>`. */
export class PushDesk {
  private readonly listeners = new Map<string, Listener>();
  /** frames that a pusher took before it went away */
  private readonly taken = new Map<string, number>();

  constructor(private readonly core: Core) {}

  /**
   * Deploys a push and streams its output as one frame a line group, always cut the same way, so that a client that was cut off can
   * say how many frames it has. `to` gets frames; answers the exit code.
   */
  async push(request: GitPushRequest, to: PushOutput, signal: AbortSignal): Promise<number> {
    const { core } = this;
    const app = (await core.board.now()).apps[request.app];
    if (!app) throw new Rejected('app.missing', `App ${request.name} does not exist any more`, null, 20);
    const verdict = judge(app.name, app.branch, request.updates);
    let left = request.after;
    const frame = (text: string): void => {
      if (left > 0) left -= 1;
      else to.output(text);
    };
    if ('say' in verdict) {
      if (verdict.say.length > 0) frame(verdict.say.map((line, i) => (i === 0 ? `-----> ${line}\n` : `       ${line}\n`)).join(''));
      return verdict.exit;
    }
    const { deploy, resumed } = await this.deployOf(app, verdict, request);
    const key = `${app.id}.${deploy}`;
    if (request.gone !== undefined) this.taken.set(key, request.gone);
    const sha = verdict.deploy.new.slice(0, 7);
    const seen = resumed ? (this.taken.get(key) ?? 0) : 0;
    const going = seen > 1 ? 'this goes on where its output was cut off' : 'this is its output';
    frame(`${verdict.first ? `-----> Set ${verdict.branch} as deploy-branch\n` : ''}-----> ${resumed ? `Deploy ${deploy} of ${sha} is under way: ${going}` : `Deploying ${app.name} at ${sha}, deploy ${deploy}`}\n`);
    if (seen > 1) left = seen - 1;
    return this.stream(app.id, deploy, request.push, frame, to.note, signal).finally(() => {
      if (this.taken.size > 500) this.taken.clear();
    });
  }

  /** The deploy of this push: the one that runs or waits for the same commit, or a new one. */
  private async deployOf(app: AppRow, verdict: Extract<Verdict, { deploy: RefUpdate }>, request: GitPushRequest): Promise<{ deploy: number; resumed: boolean }> {
    const { core } = this;
    const sha = verdict.deploy.new;
    const { running, waiting } = await core.pipelines.state(app.id);
    const same = [running, waiting.source].find((r) => r?.source.sha === sha && r.kind === 'push');
    if (same) return { deploy: same.deploy, resumed: request.after === 0 };
    if (request.after > 0) {
      // the API was away and the deploy ended meanwhile
      const last = (await core.board.now()).deploys[app.id]?.findLast((d) => d.source.sha === sha && d.kind === 'push');
      if (last) return { deploy: last.deploy, resumed: false };
    }
    const { answer } = await change({ core, actor: request.actor }, 'git push', app.id, async (draft) => {
      await draft.decide(apps, appStream(app.id), { type: 'SetBranch', branch: verdict.branch, why: 'first-push' });
      return draft.deploy(app.id, 'push', request.actor, { ...NO_SOURCE, sha, branch: verdict.branch, quarantine: request.quarantine });
    });
    return { deploy: answer!, resumed: false };
  }

  private async stream(app: string, deploy: number, push: string, frame: (text: string) => void, note: (text: string) => void, signal: AbortSignal): Promise<number> {
    const { core } = this;
    const key = `${app}.${deploy}`;
    const stop = new AbortController();
    const onAbort = (): void => stop.abort();
    signal.addEventListener('abort', onAbort);
    let taken: { exit: number; message: string } | null = null;
    const listener: Listener = { push, end: (exit, message) => { taken = { exit, message }; stop.abort(); } };
    const before = this.listeners.get(key);
    this.listeners.set(key, listener);
    // two pushes of one commit: git lets only one of them move the branch, and that is the one somebody looks at
    if (before && before.push !== push) before.end(1, `Your other push of the same commit goes on with deploy ${deploy}`);
    let text = '';
    const verbose = (await core.board.now()).server.trace;
    const printer = new DeployPrinter(new FrameOut((_, more) => { text += String(more); }, 0, false, false, verbose), verbose);
    let waited = false;
    try {
      for await (const item of followDeploy(core, app, deploy, 0, stop.signal)) {
        if (item.event === 'note') {
          note(` !     ${item.data.text}\n`);
          continue;
        }
        const row = (await core.board.now()).deploys[app]?.[deploy - 1];
        if (!waited && row && (item.event !== 'state' || item.data.status !== 'waiting') && row.startedAt !== null && row.startedAt > row.requestedAt) {
          // the same frame for a client that saw it waiting and for one that comes later
          waited = true;
          frame(`-----> Waited for another deploy of the app\n`);
        }
        if (item.event === 'state' && (waited || item.data.status !== 'waiting')) continue;
        const exit = printer.print(item);
        if (item.event === 'state') waited = true;
        if (text !== '') frame(text);
        text = '';
        if (exit !== undefined) return exit;
      }
      const end = taken as { exit: number; message: string } | null;
      if (end) frame(` !     ${end.message}\n`);
      return end?.exit ?? 1;
    } finally {
      signal.removeEventListener('abort', onAbort);
      if (this.listeners.get(key) === listener) this.listeners.delete(key);
    }
  }
}
