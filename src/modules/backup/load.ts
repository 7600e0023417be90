import type { ChainedEvent } from '../../events/chain.js';
import { Rejected } from '../../events/decider.js';
import { plan } from '../../events/plan.js';
import { metaOf } from '../../events/repository.js';
import { Conflict } from '../../events/store.port.js';
import type { BackupEvent } from '../../events/types/backup.events.js';
import type { Core } from '../core.js';
import { keys } from '../keys/key.decider.js';
import { damaged, partsOf, type Manifest } from './archive.js';
import { BACKUPS } from './backup.decider.js';
import type { Checked } from './check.js';
import { LogReader } from './log-part.js';
import { Stage } from './stage.js';
import type { Say } from './telling.js';

export interface Source { readonly path: string; readonly passphrase: string | null; readonly checked: Checked; /** its volumes, too */ readonly volumes: boolean }

/**
 * Puts a checked backup's log in the place of what is here. First everything beside the log is laid ready in a folder of its own; then the
 * log and the apps' keys are exchanged in one transaction, whose last event is `RestoreBegun`: that is the moment. Until then nothing has
 * changed; from then on `settle` does the rest, in this process or in the next one. The apps' keys are wrapped anew with this machine's
 * master key, so that no process has to learn another; an app whose key cannot be read gets a new one.
 */
export async function load(core: Core, source: Source, actor: string, signal: AbortSignal, say: Pick<Say, 'info' | 'detail' | 'warn'>): Promise<void> {
  const { manifest, keys: files } = source.checked;
  const own = (await core.repository.load(keys, 'keys')).state;
  const stage = await Stage.make(core);
  let begun = false;
  try {
    const { count, volumes } = await stage.fill(core, source, signal);
    await stage.write({ keys: { ssh: own.ssh, tokens: own.tokens }, volumes }, files.get('keys/audit.key'));
    say.info(`Laid ready: ${count} ${count === 1 ? 'repository' : 'repositories'}${source.volumes && manifest.volumes.length > 0 ? `, ${manifest.volumes.length} volumes` : ''}`);
    const { wrapped, unreadable } = adopt(core, files, manifest.apps);
    const data = { restore: stage.id, from: manifest.from.host, takenAt: manifest.takenAt, position: manifest.head.position, hash: manifest.head.hash, unreadable };
    const expectedHead = await core.store.head();
    await core.store.replace({ expectedHead, pages: pagesOf(core, source, { type: 'RestoreBegun', data }, actor, signal), keys: wrapped }).catch((error: unknown) => {
      throw error instanceof Conflict ? new Rejected('backup.busy', 'Somebody changed something here meanwhile', 'nothing was changed by this; try again') : error;
    });
    begun = true;
    say.info(`The log is in its place: ${manifest.events} events, up to position ${manifest.head.position}`);
  } finally {
    if (!begun) await stage.discard(core);
  }
}

/** The log's pages out of the archive, and what follows upon it; the chain is checked once more as they go, for the file may have changed. */
async function* pagesOf(core: Core, { path, passphrase, checked }: Source, begun: BackupEvent, actor: string, signal: AbortSignal): AsyncGenerator<readonly ChainedEvent[]> {
  const log = new LogReader();
  for await (const { name, content } of partsOf(path, passphrase)) {
    signal.throwIfAborted();
    if (!name.startsWith('log/')) break;
    yield await log.page(name, content);
  }
  if (log.head.hash !== checked.manifest.head.hash) throw damaged('The archive changed while it was read');
  const appends = [{ stream: BACKUPS, expected: log.backups, events: [begun] }];
  yield plan({ appends, meta: metaOf(actor, 'restore', BACKUPS), now: core.now() }, { head: log.head, version: () => log.backups, work: () => null }).events;
}

/** Keys that are missing or cannot be opened are replaced by new ones, and named. */
function adopt(core: Core, files: ReadonlyMap<string, Buffer>, apps: Manifest['apps']): { wrapped: Map<string, Uint8Array>; unreadable: string[] } {
  const wrapped = new Map<string, Uint8Array>();
  const unreadable: string[] = [];
  const known = JSON.parse(files.get('keys/apps.json')?.toString('utf8') ?? '{}') as Record<string, string>;
  const master = Buffer.from(files.get('keys/master.key')?.toString('utf8').trim() ?? '', 'base64');
  for (const id of new Set([...Object.keys(known), ...apps.map((app) => app.id)])) {
    try {
      wrapped.set(id, core.box.adopt(id, Buffer.from(known[id] ?? '', 'base64'), master));
    } catch {
      unreadable.push(id);
      wrapped.set(id, core.box.fresh());
    }
  }
  return { wrapped, unreadable };
}
