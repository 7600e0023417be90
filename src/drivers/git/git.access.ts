import { randomBytes } from 'node:crypto';
import { access, chown, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { alive } from '../tool/alive.js';

/** What other servers want to see of us. */
export interface GitAccess {
  readonly logins: readonly { readonly host: string; readonly user: string; readonly token: string }[];
  /** private key in OpenSSH's form, or null */
  readonly deployKey: string | null;
  /** lines of a known_hosts file */
  readonly knownHosts: readonly string[];
}
export const NO_ACCESS: GitAccess = { logins: [], deployKey: null, knownHosts: [] };

/** Of our own environment only what reaching other servers needs. */
const INHERITED = ['HTTPS_PROXY', 'https_proxy', 'NO_PROXY', 'no_proxy', 'GIT_SSL_CAINFO', 'SSL_CERT_FILE'];

export interface AccessOptions { readonly root: string; readonly gitUser: { readonly uid: number; readonly gid: number } | null; readonly access?: () => Promise<GitAccess> }

/**
 * Runs `work` with an environment that lets one git reach other servers: a home folder of its own with a netrc (so that a token goes to its
 * host only, and stands on no command line and in no address) and keys. The folder is removed afterwards; what a killed process left is
 * removed by the next one.
 */
export async function withAccess<T>({ root, gitUser, access: ask }: AccessOptions, work: (env: NodeJS.ProcessEnv) => Promise<T>): Promise<T> {
  const given = (await ask?.()) ?? NO_ACCESS;
  const folder = join(root, 'git');
  const runs = join(folder, 'run');
  const home = join(runs, `${process.pid}-${randomBytes(6).toString('hex')}`);
  await removeDead(runs);
  await mkdir(runs, { recursive: true, mode: 0o755 });
  await mkdir(home, { mode: 0o700 });
  try {
    const own = async (file: string): Promise<void> => { if (gitUser && process.getuid?.() === 0) await chown(file, gitUser.uid, gitUser.gid); };
    const put = async (name: string, text: string): Promise<string> => {
      const file = join(home, name);
      await writeFile(file, text, { mode: 0o600 });
      await own(file);
      return file;
    };
    // the administrator's own file lies beside; ours come first
    const theirs = await readFile(join(folder, 'netrc'), 'utf8').catch(() => '');
    await put('.netrc', `${given.logins.map(({ host, user, token }) => `machine ${host} login ${user} password ${token}\n`).join('')}${theirs}`);
    const keys = [given.deployKey === null ? null : await put('id_ed25519', given.deployKey), await access(join(folder, 'id_ed25519')).then(() => join(folder, 'id_ed25519'), () => null)].filter((key) => key !== null);
    const hosts = await put('known_hosts', given.knownHosts.map((line) => `${line}\n`).join(''));
    const seen = join(folder, 'home', 'known_hosts');
    await mkdir(join(folder, 'home'), { recursive: true });
    await own(join(folder, 'home'));
    await own(home);
    const ssh = ['ssh', '-F', '/dev/null', '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=accept-new', '-o', `UserKnownHostsFile=${seen}`, '-o', `GlobalKnownHostsFile=${hosts}`,
      '-o', 'ConnectTimeout=20', '-o', 'ServerAliveInterval=15', '-o', 'ServerAliveCountMax=4', '-o', 'IdentitiesOnly=yes', '-o', 'IdentityAgent=none', ...keys.flatMap((key) => ['-i', key])];
    const env: NodeJS.ProcessEnv = { HOME: home, GIT_SSH_COMMAND: ssh.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' '), GIT_SSH_VARIANT: 'ssh', GIT_TERMINAL_PROMPT: '0', GIT_ASKPASS: '' };
    for (const name of INHERITED) if (process.env[name]) env[name] = process.env[name];
    return await work(env);
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

async function removeDead(runs: string): Promise<void> {
  for (const name of await readdir(runs).catch(() => [])) {
    const pid = Number(/^(\d+)-/.exec(name)?.[1]);
    if (pid && alive(pid)) continue;
    await rm(join(runs, name), { recursive: true, force: true });
  }
}
