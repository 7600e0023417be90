import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { GENESIS, link } from '../../events/chain.js';
import type { Volume } from '../../drivers/engine/volume.port.js';
import { Rejected } from '../../events/decider.js';
import type { Meta, Recorded } from '../../events/event.js';
import { upcast } from '../../events/upcast.js';
import { VERSION } from '../../version.js';
import { auditKeyFile, publicAuditKey } from '../audit/audit-key.js';
import { bytes } from '../commands/words.js';
import type { Core } from '../core.js';
import { applyToBoard, emptyBoard, type AppRow, type Board } from '../read/board.projection.js';
import { type ArchiveWriter, type Manifest, PART } from './archive.js';
import { PLUGINS } from '../plugins/plugins.projection.js';
import { lineOf } from './log-part.js';
import { readPlugins } from './plugins.js';
import type { Say } from './telling.js';
import { readVolumes, type During } from './volumes.js';

const PAGE = 1000;
/** what only the administrator can have put there: credentials of submodules */
const GIT_FILES = ['netrc', 'id_ed25519', 'id_ed25519.pub', 'home/known_hosts'];

const numbered = (name: string, n: number): string => `${name}-${String(n).padStart(6, '0')}`;

/** Cuts what comes in pieces into files of the archive. */
async function put(writer: ArchiveWriter, name: (n: number) => string, pieces: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<number> {
  let held: Buffer[] = [];
  let size = 0;
  let total = 0;
  let n = 0;
  const cut = async (): Promise<void> => {
    n += 1;
    await writer.add(name(n), Buffer.concat(held));
    held = [];
    size = 0;
  };
  for await (const piece of pieces) {
    held.push(piece);
    size += piece.length;
    total += piece.length;
    if (size >= PART) await cut();
  }
  if (size > 0) await cut();
  return total;
}

/**
 * Everything of this Berth, as of the log's end when this began: what is appended meanwhile is not in it, and a log that only grows needs
 * no lock to be read up to there. Repositories come after the log, so that every commit it names is in them.
 */
export async function take(core: Core, writer: ArchiveWriter, options: { logs: boolean; volumes: readonly Volume[]; during: During; signal: AbortSignal }, say: Pick<Say, 'info' | 'detail' | 'warn'>): Promise<Manifest> {
  const { config, store } = core;
  const { signal } = options;
  const takenAt = new Date(core.now()).toISOString();
  const end = await store.head();
  const board = emptyBoard();
  const plugins = PLUGINS.initial();
  const head = { position: 0, hash: GENESIS };
  async function* lines(): AsyncGenerator<Buffer> {
    yield Buffer.from(`${JSON.stringify({ berth: 'audit-export', version: 1, after: 0, previous: GENESIS, key: publicAuditKey(config.root) })}\n`);
    while (head.position < end) {
      signal.throwIfAborted();
      const page = (await store.readChain(head.position, PAGE)).filter((event) => event.position <= end);
      if (page.length === 0) throw new Rejected('backup.log', `The log ends at event ${head.position} and not at ${end}`, 'see: berth audit:verify');
      for (const event of page) {
        if (event.position !== head.position + 1 || link(head.hash, event) !== event.hash) throw new Rejected('backup.log', `The log is not as it was written at event ${event.position}, and no Berth would take it back`, 'see: berth audit:verify');
        Object.assign(head, { position: event.position, hash: event.hash });
        const { data, meta, ...rest } = event;
        const recorded = upcast({ ...rest, data: JSON.parse(data) as unknown, meta: JSON.parse(meta) as Meta } as Recorded);
        applyToBoard(board, recorded);
        PLUGINS.apply(plugins, recorded);
      }
      yield Buffer.from(page.map(lineOf).join(''));
      await turn();
    }
  }
  const logBytes = await put(writer, (n) => `log/${numbered('events', n)}.jsonl`, lines());
  const apps = Object.values(board.apps).sort((a, b) => (a.name < b.name ? -1 : 1));
  say.info(`${head.position} events, ${bytes(logBytes)}: up to position ${head.position}`);

  await keysOf(core, writer, board, say);
  await repositoriesOf(core, writer, apps, signal, say);
  for (const name of GIT_FILES) {
    const file = join(config.root, 'git', name);
    if (existsSync(file)) await writer.add(`git/${name}`, await readFile(file));
  }
  if (options.logs) await logsOf(core, writer, board, signal, say);
  const pluginParts = await readPlugins(core, plugins.registry, signal, say, (file, pieces) => put(writer, (n) => numbered(file, n), pieces));
  const volumes = await readVolumes(core, options.volumes, options.during, signal, say, (folder, pieces) => put(writer, (n) => `${folder}/${numbered('data', n)}`, pieces));
  return writer.end({
    berth: 'backup', version: 1, takenAt, from: { berth: VERSION, host: config.host, domain: config.domain, store: config.store.startsWith('sqlite:') ? 'sqlite' : 'postgres' },
    head, events: head.position, logs: options.logs, volumes, plugins: pluginParts,
    apps: apps.map((app) => ({ id: app.id, name: app.name, release: app.live?.release ?? null, commit: commitOf(app) })),
  });
}

/** The commit of what is live. */
export const commitOf = (app: AppRow): string | null => app.releases.find((r) => r.number === app.live?.release)?.spec.sha ?? null;

async function keysOf(core: Core, writer: ArchiveWriter, board: Board, say: Pick<Say, 'detail' | 'warn'>): Promise<void> {
  const wrapped: Record<string, string> = {};
  // of apps, of services, and of what the server itself keeps sealed: logins, webhooks, plugins
  for (const id of await core.store.keyIds()) {
    const key = await core.store.key(id);
    if (key) wrapped[id] = Buffer.from(key).toString('base64');
  }
  for (const app of Object.values(board.apps)) {
    if (wrapped[app.id] === undefined && app.configKeys.length > 0) say.warn(`The key of ${app.name} is not there (destroyed meanwhile?): its config vars cannot be brought back from this`);
  }
  await writer.add('keys/apps.json', Buffer.from(JSON.stringify(wrapped)));
  await writer.add('keys/master.key', await readFile(join(core.config.root, 'keys', 'master.key')));
  if (existsSync(auditKeyFile(core.config.root))) await writer.add('keys/audit.key', await readFile(auditKeyFile(core.config.root)));
}

async function repositoriesOf(core: Core, writer: ArchiveWriter, apps: readonly AppRow[], signal: AbortSignal, say: Pick<Say, 'info' | 'detail'>): Promise<void> {
  const { transfer, config } = core;
  if (!transfer) throw new Rejected('git.none', 'This server has no git');
  let count = 0;
  let total = 0;
  for (const app of apps) {
    const repo = join(config.root, 'repos', `${app.id}.git`);
    if (!existsSync(join(repo, 'HEAD'))) continue;
    signal.throwIfAborted();
    const sick = (error: unknown): never => {
      if (signal.aborted || (error as NodeJS.ErrnoException).code !== undefined) throw error;
      throw new Rejected('backup.repository', `The repository of ${app.name} cannot be read: ${(error as Error).message}`, `look: git --git-dir ${repo} fsck; push the app again, or destroy it, and there will be a backup`);
    };
    const names = await transfer.refs(repo).catch(sick);
    // a release whose branch was moved away since can be gone back to as well
    const commits = [...new Set([...Object.values(names.refs), ...await transfer.present(repo, app.releases.flatMap((r) => r.spec.sha ?? []))])];
    const folder = `repositories/${app.id}`;
    await writer.add(`${folder}/refs.json`, Buffer.from(JSON.stringify({ ...names, packed: commits.length > 0 })));
    if (commits.length > 0) total += await put(writer, (n) => `${folder}/${numbered('pack', n)}`, transfer.pack(repo, commits, signal)).catch(sick);
    count += 1;
  }
  say.info(`${count} ${count === 1 ? 'repository' : 'repositories'}, ${bytes(total)}`);
}

/** Logs grow while they are copied: each file as it is when its turn comes. */
async function logsOf(core: Core, writer: ArchiveWriter, board: Board, signal: AbortSignal, say: Pick<Say, 'info'>): Promise<void> {
  const root = join(core.config.root, 'logs');
  let total = 0;
  for (const kind of ['apps', 'deploys']) {
    for (const app of Object.keys(board.apps)) {
      const folder = join(root, kind, app);
      if (!existsSync(folder)) continue;
      for (const file of (await readdir(folder, { recursive: true })).sort()) {
        signal.throwIfAborted();
        const path = join(folder, file);
        const content = await stat(path).then((found) => (found.isFile() ? readFile(path) : null)).catch(() => null); // trimmed meanwhile
        if (content) await writer.add(`logs/${kind}/${app}/${file}`, content);
        total += content?.length ?? 0;
      }
    }
  }
  say.info(`Logs, ${bytes(total)}`);
}
