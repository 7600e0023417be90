import { Rejected } from '../../events/decider.js';
import type { Checkpoint } from '../../events/types/audit.events.js';
import type { Report } from '../commands/report.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import { audit, recent } from './audit.decider.js';
import { auditKey, publicAuditKey, signCheckpoint } from './audit-key.js';
import { pagesOf } from './log-pages.js';
import { checkpointIn } from './export-file.js';
import { START, verifyChain, type Known, type Verdict } from './verify.js';

export const AUDIT = 'audit';
const DAY_MS = 86_400_000;

export async function checkpointsOf(core: Core): Promise<Known[]> {
  return (await core.store.readStream(AUDIT)).flatMap(checkpointIn);
}

/** The whole log against its chain and all its checkpoints. @param key whose signatures count; null: this server's */
export async function verifyLog(core: Core, more: readonly Known[] = [], earlier: ReadonlyMap<number, string> = new Map(), signal?: AbortSignal, key: string | null = null): Promise<Verdict & { readonly signed: boolean }> {
  const checkpoints = [...await checkpointsOf(core), ...more]; // before the head: what is taken meanwhile may lie beyond it
  const head = await core.store.head();
  const verdict = await verifyChain(pagesOf(core, 0, head, signal), { from: START, key: key ?? publicAuditKey(core.config.root), earlier, checkpoints });
  return { ...verdict, signed: checkpoints.length > 0 };
}

/**
 * Signs the log as it stands; what came since the last checkpoint is checked before. `taken` false: the last one is younger than a day.
 * @throws Rejected when the log is empty, or not as it was written
 */
export async function takeCheckpoint(core: Core, actor: string, force: boolean): Promise<{ taken: boolean; checkpoint: Checkpoint }> {
  const takenAt = core.now();
  const { state } = await core.repository.load(audit, AUDIT);
  const { last } = state;
  if (last && !force && recent(state, takenAt)) return { taken: false, checkpoint: last };
  const head = await core.store.head();
  if (head === 0) throw new Rejected('audit.empty', 'There is nothing in the log yet');
  // what was not checked is not signed
  const from = last === null ? START : { position: last.position, hash: last.chain };
  const { problem, head: checked } = await verifyChain(pagesOf(core, from.position, head), { from, key: null, checkpoints: [], earlier: new Map() });
  if (problem) throw new Rejected('audit.broken', `The log is not as it was written, and is not signed so: ${problem.message}`, 'see: berth audit:verify');
  const checkpoint = signCheckpoint(auditKey(core.config.root), { position: checked.position, chain: checked.hash, takenAt });
  await change({ core, actor }, 'audit:checkpoint', AUDIT, (draft) => draft.decide(audit, AUDIT, { type: 'Take', checkpoint, force }));
  return { taken: true, checkpoint };
}

const ACTOR = 'system:audit';

/** Once a day the whole log is checked and signed; what is wrong with it is recorded. One at a time. */
export class DailyAudit {
  private running: Promise<void> | null = null;
  private readonly stopping = new AbortController();

  constructor(private readonly core: Core, private readonly report: Report) {}

  /** Begins when a day is over; call as often as you like. Answers when it is done. */
  async run(): Promise<void> {
    this.running ??= this.look().catch((error: unknown) => { if (!this.stopping.signal.aborted) this.report('audit', error); }).finally(() => { this.running = null; });
    await this.running;
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private async look(): Promise<void> {
    const { core } = this;
    const { signal } = this.stopping;
    const { state } = await core.repository.load(audit, AUDIT);
    // a log that was found broken is not read through with every round
    if (signal.aborted || state.failed !== null || recent(state, core.now())) return;
    if (state.last === null) {
      const [first] = await core.store.readAll(0, 1);
      if (first === undefined || core.now() - first.at < DAY_MS) return;
    }
    const { problem } = await verifyLog(core, [], new Map(), signal);
    if (problem === null) await takeCheckpoint(core, ACTOR, false);
    else await change({ core, actor: ACTOR }, 'audit:verify', AUDIT, (draft) => draft.decide(audit, AUDIT, { type: 'Fail', problem }));
  }
}
