import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import type { ChainedEvent } from '../../events/chain.js';
import { Rejected } from '../../events/decider.js';
import type { RepositoryRefs } from '../../drivers/git/git.port.js';
import { Conflict } from '../../events/store.port.js';
import { auditKeyFile } from '../audit/audit-key.js';
import type { Core } from '../core.js';
import { damaged, partsOf } from './archive.js';
import type { Checked } from './check.js';
import { LogReader } from './log-part.js';
import type { Say } from './telling.js';

export interface Source { readonly path: string; readonly passphrase: string | null; readonly checked: Checked }

/** What was loaded, and apps whose key could not be read: they got a new one. */
export interface Loaded { readonly unreadable: ReadonlySet<string> }

const STAGE = 'restoring-';
const ID = /^[a-z0-9]{1,32}$/;

/**
 * Puts a checked backup in the place of what is here. First everything beside the log is laid ready in a folder of its own; then the log
 * and the apps' keys are exchanged in one transaction: that is the moment; then files are moved to where they belong. Until that moment
 * nothing has changed. The apps' keys are wrapped anew with this machine's master key, so that no process has to learn another.
 */
export async function load(core: Core, source: Source, signal: AbortSignal, say: Pick<Say, 'info' | 'detail' | 'warn'>): Promise<Loaded> {
  const { root } = core.config;
  const { manifest, keys } = source.checked;
  for (const old of await readdir(root)) if (old.startsWith(STAGE)) await rm(join(root, old), { recursive: true, force: true });
  const stage = join(root, `${STAGE}${randomBytes(4).toString('hex')}`);
  await mkdir(stage, { mode: 0o711 });
  try {
    const count = await lay(core, source, stage, signal);
    say.info(`Laid ready: ${count} ${count === 1 ? 'repository' : 'repositories'}`);
    const { wrapped, unreadable } = adopt(core, keys);
    const expectedHead = await core.store.head();
    await core.store.replace({ expectedHead, pages: pagesOf(source), keys: wrapped }).catch((error: unknown) => {
      throw error instanceof Conflict ? new Rejected('backup.busy', 'Somebody changed something here meanwhile', 'nothing was changed by this; try again') : error;
    });
    const audit = keys.get('keys/audit.key');
    if (audit) await install(auditKeyFile(root), audit);
    await moveIn(core, stage, say);
    for (const id of unreadable) await core.box.createKey(id);
    say.info(`The log is in its place: ${manifest.events} events, up to position ${manifest.head.position}`);
    return { unreadable };
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}

/** The log's pages out of the archive; the chain is checked once more as they go, for the file may have changed. */
async function* pagesOf({ path, passphrase, checked }: Source): AsyncGenerator<ChainedEvent[]> {
  const log = new LogReader();
  for await (const { name, content } of partsOf(path, passphrase)) {
    if (!name.startsWith('log/')) break;
    yield await log.page(name, content);
  }
  if (log.head.hash !== checked.manifest.head.hash) throw damaged('The archive changed while it was read');
}

function adopt(core: Core, files: ReadonlyMap<string, Buffer>): { wrapped: Map<string, Uint8Array>; unreadable: Set<string> } {
  const wrapped = new Map<string, Uint8Array>();
  const unreadable = new Set<string>();
  const master = Buffer.from(files.get('keys/master.key')?.toString('utf8').trim() ?? '', 'base64');
  for (const [id, key] of Object.entries(JSON.parse(files.get('keys/apps.json')?.toString('utf8') ?? '{}') as Record<string, string>)) {
    try {
      wrapped.set(id, core.box.adopt(id, Buffer.from(key, 'base64'), master));
    } catch {
      unreadable.add(id);
    }
  }
  return { wrapped, unreadable };
}

/** Unpacks everything but the log below `stage`. Answers how many repositories. */
async function lay(core: Core, { path, passphrase }: Source, stage: string, signal: AbortSignal): Promise<number> {
  const { transfer } = core;
  if (!transfer) throw new Rejected('git.none', 'This server has no git');
  let count = 0;
  const files = partsOf(path, passphrase)[Symbol.asyncIterator]();
  try {
    let file = await files.next();
    while (!file.done) {
      signal.throwIfAborted();
      const { name, content } = file.value;
      const [kind, id = ''] = name.split('/');
      if (kind === 'repositories') {
        if (!ID.test(id) || !name.endsWith('/refs.json')) throw damaged(`${name} in the archive is not where it belongs`);
        const { packed, ...refs } = JSON.parse(content.toString('utf8')) as RepositoryRefs & { packed: boolean };
        const prefix = `repositories/${id}/pack-`;
        const pack = async function* (): AsyncGenerator<Buffer> {
          for (file = await files.next(); !file.done && file.value.name.startsWith(prefix); file = await files.next()) yield file.value.content;
        };
        await transfer.unpack(join(stage, 'repos', `${id}.git`), refs, packed ? pack() : null, signal).catch((error: unknown) => {
          throw error instanceof Rejected ? error : damaged(`The repository ${id} in the archive cannot be unpacked: ${(error as Error).message}`, error);
        });
        if (!packed) file = await files.next();
        count += 1;
        continue;
      }
      if (kind === 'logs' || kind === 'git') {
        if (normalize(name) !== name || name.includes('..')) throw damaged(`${name} in the archive is not where it belongs`);
        const target = join(stage, name);
        await mkdir(dirname(target), { recursive: true, mode: 0o750 });
        await writeFile(target, content, { mode: kind === 'git' ? 0o600 : 0o644 });
      }
      file = await files.next();
    }
  } finally {
    await files.return?.(undefined);
  }
  return count;
}

/** Writes a secret file whole. */
async function install(file: string, content: Buffer): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(`${file}.new`, content, { mode: 0o600 });
  await rename(`${file}.new`, file);
}

async function moveIn(core: Core, stage: string, say: Pick<Say, 'warn'>): Promise<void> {
  const { root, gitUser } = core.config;
  const into = async (from: string, to: string): Promise<void> => {
    await mkdir(dirname(to), { recursive: true });
    await rm(to, { recursive: true, force: true });
    await rename(from, to);
  };
  const names = (folder: string): Promise<string[]> => readdir(folder).catch(() => []);
  for (const name of await names(join(stage, 'repos'))) await into(join(stage, 'repos', name), join(root, 'repos', name));
  for (const kind of ['apps', 'deploys']) for (const app of await names(join(stage, 'logs', kind))) await into(join(stage, 'logs', kind, app), join(root, 'logs', kind, app));
  for (const name of ['netrc', 'id_ed25519', 'id_ed25519.pub', 'home/known_hosts']) {
    const [from, to] = [join(stage, 'git', name), join(root, 'git', name)];
    if (!existsSync(from)) continue;
    if (existsSync(to)) {
      say.warn(`${to} is there already and was left as it is: the backup has one, too`);
      continue;
    }
    await into(from, to);
    await chmod(to, 0o600);
    if (gitUser && process.getuid?.() === 0) for (const path of [dirname(to), to]) if ((await stat(path)).uid !== gitUser.uid) await chown(path, gitUser.uid, gitUser.gid);
  }
}
