import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify, type KeyObject } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Rejected } from '../../events/decider.js';
import type { Checkpoint } from '../../events/types/audit.events.js';

/** What is signed; a text of its own kind, so that the signature means nothing anywhere else. */
const textOf = ({ position, chain, takenAt }: Pick<Checkpoint, 'position' | 'chain' | 'takenAt'>): Buffer => Buffer.from(`berth checkpoint 1\n${position}\n${chain}\n${takenAt}\n`);

export const auditKeyFile = (root: string): string => join(root, 'keys', 'audit.key');
const spki = (key: KeyObject): string => key.export({ type: 'spki', format: 'der' }).toString('base64');

function read(file: string): KeyObject {
  try {
    const key = createPrivateKey(readFileSync(file, 'utf8'));
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES') throw error;
  }
  throw new Error(`${file}: not an Ed25519 key in PEM; restore it from a backup, or move it away to begin with a new one`);
}

/** Reads the key that signs checkpoints (Ed25519, PEM, mode 0600), or makes it where there is none. */
export function auditKey(root: string): KeyObject {
  const file = auditKeyFile(root);
  if (!existsSync(file)) {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    try {
      writeFileSync(file, generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flag: 'wx' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
  return read(file);
}

/** The public half as checkpoints name it, or null where no checkpoint was ever signed. */
export const publicAuditKey = (root: string): string | null => (existsSync(auditKeyFile(root)) ? spki(createPublicKey(read(auditKeyFile(root)))) : null);

export function signCheckpoint(key: KeyObject, said: Pick<Checkpoint, 'position' | 'chain' | 'takenAt'>): Checkpoint {
  return { ...said, signature: sign(null, textOf(said), key).toString('base64'), key: spki(createPublicKey(key)) };
}

/** Whether the checkpoint was signed by the key it names. */
export function isSigned(checkpoint: Checkpoint): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(checkpoint.key, 'base64'), type: 'spki', format: 'der' });
    return key.asymmetricKeyType === 'ed25519' && verify(null, textOf(checkpoint), key, Buffer.from(checkpoint.signature, 'base64'));
  } catch {
    return false;
  }
}

/**
 * The public key in a file that somebody kept: PEM (public, or the private one itself), its SPKI as base64, or checkpoints as `audit:checkpoint --format json`
 * prints them. Answered as checkpoints name it. @throws Rejected when there is none, or another one in a later line
 */
export function readPublicKey(content: Buffer, name: string): string {
  const text = content.toString('utf8').trim();
  const bad = (why: string): Rejected => new Rejected('audit.key', `${name}: ${why}`, 'a public key: berth audit:checkpoint --format json > checkpoint.json, or openssl pkey -in audit.key -pubout');
  const found = new Set(text.startsWith('-----BEGIN') ? [text] : text.split('\n').filter((line) => line.trim() !== '').map((line) => keyOf(line.trim())));
  if (found.size !== 1) throw bad(found.size === 0 ? 'is empty' : 'names more than one key');
  const [key] = [...found] as [string];
  try {
    const read = createPublicKey(key.startsWith('-----BEGIN') ? key : { key: Buffer.from(key, 'base64'), type: 'spki', format: 'der' });
    if (read.asymmetricKeyType === 'ed25519') return spki(read);
  } catch {
    // said below
  }
  throw bad('no Ed25519 key in it');
}

function keyOf(line: string): string {
  try {
    const said = JSON.parse(line) as { key?: unknown; checkpoint?: { key?: unknown } };
    return String(said.checkpoint?.key ?? said.key ?? '');
  } catch {
    return line;
  }
}
