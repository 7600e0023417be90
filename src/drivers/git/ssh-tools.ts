import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Rejected } from '../../events/decider.js';

const run = promisify(execFile);

/** A new key pair without a passphrase. */
export async function makeKeyPair(comment: string): Promise<{ publicKey: string; privateKey: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'berth-key-'));
  try {
    const file = join(folder, 'key');
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', comment, '-f', file], { timeout: 30_000 });
    return { publicKey: (await readFile(`${file}.pub`, 'utf8')).trim(), privateKey: await readFile(file, 'utf8') };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The keys that an SSH server shows, as lines of a known_hosts file. @throws Rejected when it does not answer */
export async function hostKeys(host: string, port: number): Promise<string[]> {
  const { stdout, stderr } = await run('ssh-keyscan', ['-T', '10', '-p', String(port), '--', host], { timeout: 30_000, maxBuffer: 1 << 20 }).catch((error: { stdout?: string; stderr?: string }) => ({ stdout: error.stdout ?? '', stderr: error.stderr ?? '' }));
  const lines = stdout.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  if (lines.length === 0) throw new Rejected('git.host-silent', `${host} shows no SSH keys${stderr ? `: ${stderr.split('\n').find((line) => !line.startsWith('#'))?.slice(0, 200) ?? ''}` : ''}`, 'is the name right, and is its SSH port reachable from this server?');
  return lines;
}
