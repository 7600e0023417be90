import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import type { RepositoryRefs } from '../../drivers/git/git.port.js';
import { Rejected } from '../../events/decider.js';
import type { Core } from '../core.js';
import type { KeyState } from '../keys/key.decider.js';
import { damaged, partsOf } from './archive.js';
import type { Source } from './load.js';
import { stagePlugin } from './plugins.js';
import { dropVolumes, fillVolume, folderOf, type Waiting } from './volumes.js';

const STAGE = 'restoring-';
const ID = /^[a-z0-9]{1,32}$/;

/** What a restore has to know when the log is exchanged already, whichever process goes on with it. */
export interface Journal {
  /** SSH keys and tokens of this machine: whoever restores is not locked out */
  readonly keys: Pick<KeyState, 'ssh' | 'tokens'>;
  /** volumes that were filled beside those whose place they take */
  readonly volumes: readonly Waiting[];
}

/** Everything beside the log, laid ready in a folder of its own below the root: moving it in is all that is left. */
export class Stage {
  private constructor(readonly id: string, readonly path: string) {}

  static async make(core: Core): Promise<Stage> {
    const id = randomBytes(4).toString('hex');
    const stage = Stage.of(core, id);
    await mkdir(stage.path, { mode: 0o711 });
    return stage;
  }

  static of(core: Core, id: string): Stage {
    return new Stage(id, join(core.config.root, `${STAGE}${id}`));
  }

  /** Those that lie there, of whichever restore. */
  static async all(core: Core): Promise<Stage[]> {
    return (await readdir(core.config.root)).filter((name) => name.startsWith(STAGE)).map((name) => Stage.of(core, name.slice(STAGE.length)));
  }

  get there(): boolean {
    return existsSync(this.path);
  }

  async write(journal: Journal, auditKey: Buffer | undefined): Promise<void> {
    if (auditKey) await writeFile(join(this.path, 'audit.key'), auditKey, { mode: 0o600 });
    await writeFile(join(this.path, 'journal.json'), JSON.stringify(journal), { mode: 0o600 });
    await flush(this.path);
  }

  async journal(): Promise<Journal> {
    return JSON.parse(await readFile(join(this.path, 'journal.json'), 'utf8')) as Journal;
  }

  /** Of a restore that never began: what it made elsewhere goes, too. */
  async discard(core: Core): Promise<void> {
    await dropVolumes(core, this.id);
    await this.remove();
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }

  /** Unpacks everything but the log. Answers how many repositories there are, and the volumes that have to take another's place. */
  async fill(core: Core, { path, passphrase, checked, volumes: withVolumes }: Source, signal: AbortSignal): Promise<{ count: number; volumes: Waiting[] }> {
    const { transfer } = core;
    if (!transfer) throw new Rejected('git.none', 'This server has no git');
    let count = 0;
    const volumes: Waiting[] = [];
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
          await transfer.unpack(join(this.path, 'repos', `${id}.git`), refs, packed ? pack() : null, signal).catch((error: unknown) => {
            throw error instanceof Rejected || isFull(error) ? error : damaged(`The repository ${id} in the archive cannot be unpacked: ${(error as Error).message}`, error);
          });
          if (!packed) file = await files.next();
          count += 1;
          continue;
        }
        if (kind === 'volumes' && withVolumes) {
          const index = Number(id) - 1;
          const part = checked.manifest.volumes[index];
          if (!part || folderOf(index) !== `volumes/${id}`) throw damaged(`${name} in the archive is not where it belongs`);
          const tar = async function* (): AsyncGenerator<Buffer> {
            for (; !file.done && file.value.name.startsWith(`volumes/${id}/`); file = await files.next()) yield file.value.content;
          };
          const waiting = await fillVolume(core, this.id, index, part, tar(), signal);
          if (waiting) volumes.push(waiting);
          continue;
        }
        if (kind === 'plugins') {
          const part = name.replace(/-\d{6}$/, '');
          if (part === name) throw damaged(`${name} in the archive is not where it belongs`);
          const tar = async function* (): AsyncGenerator<Buffer> {
            for (; !file.done && file.value.name.startsWith(`${part}-`); file = await files.next()) yield file.value.content;
          };
          await stagePlugin(this.path, checked.manifest.plugins, part, tar(), signal);
          continue;
        }
        if (kind === 'logs' || kind === 'git') {
          if (normalize(name) !== name || name.includes('..')) throw damaged(`${name} in the archive is not where it belongs`);
          const target = join(this.path, name);
          await mkdir(dirname(target), { recursive: true, mode: 0o750 });
          await writeFile(target, content, { mode: kind === 'git' ? 0o600 : 0o644 });
        }
        file = await files.next();
      }
    } finally {
      await files.return?.(undefined);
    }
    return { count, volumes };
  }
}

/** The disk is full, whoever says so: git only has words for it. */
export function isFull(error: unknown): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT' || /No space left on device|Disk quota exceeded/.test(message ?? '');
}

/** Everything below a folder is on the disk, its names, too. */
async function flush(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await flush(path);
    else if (entry.isFile()) await sync(path);
  }
  await sync(folder);
}

/** A file or a folder is on the disk. */
export async function sync(path: string): Promise<void> {
  const handle = await open(path);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
