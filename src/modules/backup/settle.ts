import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { auditKeyFile } from '../audit/audit-key.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import { keys } from '../keys/key.decider.js';
import { backups, BACKUPS, type Fact } from './backup.decider.js';
import { askForDeploys, RESTORE } from './bring-back.js';
import { moveTo, namesIn } from './place.js';
import { placePlugins } from './plugins.js';
import { Stage, type Journal } from './stage.js';
import type { Say } from './telling.js';
import { placeVolumes } from './volumes.js';

/**
 * Brings a restore that has begun to its end, from wherever it stands: each part may be done twice. Where none has begun, what a restore
 * that died before its moment had laid ready is taken away. Only while nobody else relays or sweeps.
 * @returns the apps as they were brought back, or null where there was nothing to do
 */
export async function settle(core: Core, say: Pick<Say, 'info' | 'detail' | 'warn'>): Promise<readonly Fact<'AppRestored'>[] | null> {
  const { restore } = (await core.repository.load(backups, BACKUPS)).state;
  for (const other of await Stage.all(core)) if (other.id !== restore?.restore) await other.discard(core);
  if (restore === null) return null;
  const stage = Stage.of(core, restore.restore);
  if (stage.there) {
    const journal = await stage.journal();
    await moveIn(core, stage.path, say);
    await placePlugins(core, stage.path, say);
    await placeVolumes(core, journal.volumes, say);
    await keepKeys(core, journal.keys, say);
  } else say.warn(`${stage.path} is not there any more: repositories and logs of the backup are missing`);
  await core.writeKeys?.();
  await askForDeploys(core);
  const { apps } = (await core.repository.load(backups, BACKUPS)).state.restore!;
  await change({ core, actor: RESTORE }, 'restore', BACKUPS, (draft) => draft.decide(backups, BACKUPS, { type: 'RestoreEnded', data: { restore: restore.restore, apps: apps.length, troubles: apps.filter((app) => app.trouble).length } }));
  await stage.remove();
  return apps;
}

/** Moves files to where they belong. What was moved already is not there any more. */
async function moveIn(core: Core, stage: string, say: Pick<Say, 'warn'>): Promise<void> {
  const { root, gitUser } = core.config;
  if (existsSync(join(stage, 'audit.key'))) await install(auditKeyFile(root), await readFile(join(stage, 'audit.key')));
  for (const name of await namesIn(join(stage, 'repos'))) await moveTo(join(stage, 'repos', name), join(root, 'repos', name));
  for (const kind of ['apps', 'deploys']) for (const app of await namesIn(join(stage, 'logs', kind))) await moveTo(join(stage, 'logs', kind, app), join(root, 'logs', kind, app));
  for (const name of ['netrc', 'id_ed25519', 'id_ed25519.pub', 'home/known_hosts']) {
    const [from, to] = [join(stage, 'git', name), join(root, 'git', name)];
    if (!existsSync(from)) continue;
    if (existsSync(to)) {
      say.warn(`${to} is there already and was left as it is: the backup has one, too`);
      continue;
    }
    await moveTo(from, to);
    await chmod(to, 0o600);
    if (gitUser && process.getuid?.() === 0) for (const path of [dirname(to), to]) if ((await stat(path)).uid !== gitUser.uid) await chown(path, gitUser.uid, gitUser.gid);
  }
}

/** Writes a secret file whole. */
async function install(file: string, content: Buffer): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(`${file}.new`, content, { mode: 0o600 });
  await rename(`${file}.new`, file);
}

/** SSH keys and tokens of this machine that the restored log does not know go on working: whoever restores is not locked out. */
async function keepKeys(core: Core, own: Journal['keys'], say: Pick<Say, 'detail'>): Promise<void> {
  await change({ core, actor: RESTORE }, 'restore', 'keys', async (draft) => {
    for (const { name, key, fingerprint } of own.ssh) {
      const { ssh } = (await draft.load(keys, 'keys')).state;
      if (ssh.some((known) => known.fingerprint === fingerprint)) continue;
      let free = name;
      for (let n = 2; ssh.some((known) => known.name === free); n += 1) free = `${name.slice(0, 60)}-${n}`;
      await draft.decide(keys, 'keys', { type: 'AddSsh', name: free, text: key });
      say.detail(`kept this machine's SSH key ${free}`);
    }
    for (const [name, hash] of Object.entries(own.tokens)) {
      if (Object.hasOwn((await draft.load(keys, 'keys')).state.tokens, name)) continue;
      await draft.decide(keys, 'keys', { type: 'CreateToken', name, hash });
    }
  });
}
