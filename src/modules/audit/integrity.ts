import type { Checkpoint } from '../../events/types/audit.events.js';
import type { Core } from '../core.js';
import { audit, type Broken } from './audit.decider.js';
import { publicAuditKey } from './audit-key.js';
import { AUDIT } from './checkpoint.js';
import { pagesOf, placeAt } from './log-pages.js';
import { START, verifyChain, type Place } from './verify.js';

export interface Integrity {
  /** what is wrong now, or was when all of it was read */
  readonly problem: Broken | null;
  /** up to here the log was looked at; it ends at `head` */
  readonly checked: number;
  readonly head: number;
  /** the newest checkpoint, where it holds */
  readonly checkpoint: Checkpoint | null;
}

/** how long one look may take, ms; the next one goes on where it ended */
const PATIENCE_MS = 1500;
const reached = new WeakMap<Core, Place>();

/**
 * Whether the log is as it was written, looked at in passing: from the newest checkpoint on, and from where the last look of this
 * process ended. All of it is read by `berth audit:verify` and once a day (`DailyAudit`), whose finding counts here, too.
 */
export async function integrity(core: Core): Promise<Integrity> {
  const { last: checkpoint, failed } = (await core.repository.load(audit, AUDIT)).state;
  const head = await core.store.head();
  const { from, again } = await beginning(core, checkpoint, head);
  const late = performance.now() + PATIENCE_MS;
  const pages = (async function* () {
    for await (const page of pagesOf(core, from.position, head)) {
      yield page;
      if (performance.now() > late) return;
    }
  })();
  const known = checkpoint && !again ? [{ checkpoint, where: 'the log', at: null }] : [];
  const { problem, head: end } = await verifyChain(pages, { from, key: publicAuditKey(core.config.root), checkpoints: known, earlier: new Map() });
  if (problem) reached.delete(core);
  else reached.set(core, end);
  return { problem: problem ?? failed, checked: end.position, head, checkpoint: problem ? null : checkpoint };
}

/** Where to look from: behind what was looked at already, or right before the event that the checkpoint vouches for. */
async function beginning(core: Core, checkpoint: Checkpoint | null, head: number): Promise<{ from: Place; again: boolean }> {
  const last = reached.get(core);
  if (last && last.position <= head && last.position >= (checkpoint?.position ?? 0)) {
    // a restored log, or one that was written anew, has something else there
    if ((await placeAt(core, last.position)).hash === last.hash) return { from: last, again: true };
  }
  return { from: checkpoint && checkpoint.position <= head ? await placeAt(core, checkpoint.position - 1) : START, again: false };
}
