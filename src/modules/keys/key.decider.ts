import { createHash } from 'node:crypto';
import { never, Rejected, type Decider } from '../../events/decider.js';
import type { KeyEvent } from '../../events/types/app.events.js';
import { shown } from '../apps/app.decider.js';

export interface SshKey { readonly name: string; readonly key: string; readonly fingerprint: string }
/** SSH keys and API tokens. Stream `keys`. */
export interface KeyState { readonly ssh: readonly SshKey[]; readonly tokens: Readonly<Record<string, string>> }

export type KeyCommand =
  | { type: 'AddSsh'; name: string; text: string }
  | { type: 'RemoveSsh'; by: 'name' | 'fingerprint'; value: string }
  | { type: 'CreateToken'; name: string; hash: string }
  | { type: 'RevokeToken'; name: string };

/** kind of key → how many fields its blob has */
const FIELDS: Readonly<Record<string, number>> = { 'ssh-ed25519': 2, 'ssh-rsa': 3, 'ecdsa-sha2-nistp256': 3, 'ecdsa-sha2-nistp384': 3, 'ecdsa-sha2-nistp521': 3, 'sk-ssh-ed25519@openssh.com': 3, 'sk-ecdsa-sha2-nistp256@openssh.com': 4 };

/** The length-prefixed fields of a key, or null when it is cut or has bytes left over. */
function fieldsIn(blob: Buffer): Buffer[] | null {
  const fields: Buffer[] = [];
  let at = 0;
  while (at + 4 <= blob.length) {
    const end = at + 4 + blob.readUInt32BE(at);
    if (end > blob.length) return null;
    fields.push(blob.subarray(at + 4, end));
    at = end;
  }
  return at === blob.length ? fields : null;
}

function checkName(name: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/.test(name)) throw new Rejected('key.name', `'${shown(name)}' will not do as a name`, 'letters, digits, dot, hyphen, underscore and @, at most 64');
}

/** Reads one line of an OpenSSH public key file (RFC 4253 §6.6); options in front are refused, they would run on this server. */
export function parsePublicKey(text: string): { key: string; fingerprint: string } {
  if (/PRIVATE KEY/.test(text)) throw new Rejected('key.private', 'This is a private key', 'keep it to yourself and send the file that ends in .pub');
  const lines = text.split(/\r?\n/).map((line) => line.trim()).filter((line) => line && !line.startsWith('#'));
  if (lines.length === 0) throw new Rejected('key.empty', 'No key was given', 'for example: berth ssh-keys:add admin < ~/.ssh/id_ed25519.pub');
  if (lines.length > 1) throw new Rejected('key.many', `One key at a time, ${lines.length} lines were given`, 'add each under a name of its own');
  const [type = '', body = ''] = lines[0]!.split(/\s+/);
  if (!Object.hasOwn(FIELDS, type)) throw new Rejected('key.type', `'${shown(type, 30)}' is not a kind of SSH public key that is taken here`, `one of: ${Object.keys(FIELDS).join(', ')}`);
  const blob = /^[A-Za-z0-9+/]+={0,2}$/.test(body) ? Buffer.from(body, 'base64') : Buffer.alloc(0);
  const fields = fieldsIn(blob);
  if (fields === null || fields.length !== FIELDS[type] || fields[0]!.toString('latin1') !== type) throw new Rejected('key.broken', 'The key is cut or damaged', 'copy the whole line of the .pub file');
  return { key: `${type} ${body}`, fingerprint: `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}` };
}

export const keys: Decider<KeyState, KeyCommand, KeyEvent> = {
  initial: { ssh: [], tokens: {} },
  decide(command, state) {
    switch (command.type) {
      case 'AddSsh': {
        checkName(command.name);
        const { key, fingerprint } = parsePublicKey(command.text);
        if (state.ssh.some((k) => k.name === command.name)) throw new Rejected('key.exists', `A key named ${command.name} exists already`, `remove it first: berth ssh-keys:remove ${command.name}`);
        const twin = state.ssh.find((k) => k.fingerprint === fingerprint);
        if (twin) throw new Rejected('key.exists', `This key is here already, as ${twin.name}`);
        return [{ type: 'SshKeyAdded', data: { name: command.name, key, fingerprint } }];
      }
      case 'RemoveSsh': {
        const found = state.ssh.filter((k) => k[command.by] === command.value);
        if (found.length === 0) throw new Rejected('key.missing', `There is no key with the ${command.by} ${shown(command.value)}`, 'see: berth ssh-keys:list');
        return found.map(({ name, fingerprint }) => ({ type: 'SshKeyRemoved', data: { name, fingerprint } }));
      }
      case 'CreateToken':
        checkName(command.name);
        if (Object.hasOwn(state.tokens, command.name)) throw new Rejected('token.exists', `A token named ${command.name} exists already`, `revoke it first: berth tokens:revoke ${command.name}`);
        return [{ type: 'TokenCreated', data: { name: command.name, hash: command.hash } }];
      case 'RevokeToken':
        if (!Object.hasOwn(state.tokens, command.name)) throw new Rejected('token.missing', `There is no token named ${shown(command.name)}`, 'see: berth tokens:list');
        return [{ type: 'TokenRevoked', data: { name: command.name } }];
      default: return never(command);
    }
  },
  evolve(state, event) {
    switch (event.type) {
      case 'SshKeyAdded': return { ...state, ssh: [...state.ssh, event.data] };
      case 'SshKeyRemoved': return { ...state, ssh: state.ssh.filter((k) => k.name !== event.data.name) };
      case 'TokenCreated': return { ...state, tokens: { ...state.tokens, [event.data.name]: event.data.hash } };
      case 'TokenRevoked': {
        const { [event.data.name]: _, ...tokens } = state.tokens;
        return { ...state, tokens };
      }
      default: return never(event);
    }
  },
};
