import { createHash, randomBytes } from 'node:crypto';
import { IsOptional, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { Arg, command, Flag, forget } from '../commands/command.js';
import { table, when } from '../commands/words.js';
import { change } from '../draft.js';
import { keys } from './key.decider.js';

class AddInput {
  @IsString() @Arg('a name for the key: whose it is') name!: string;
  @IsOptional() @IsString() @Arg('the .pub file; standard input when there is none', { optional: true, label: 'file' }) file?: string;
}
class ListInput {}
class RemoveInput {
  @IsOptional() @IsString() @Arg('the key\'s name', { optional: true }) name?: string;
  @IsOptional() @IsString() @Flag('the key\'s fingerprint instead', { type: 'string', label: 'SHA256:…' }) fingerprint?: string;
}
class TokenInput {
  @IsString() @Arg('a name for the token: what it is for') name!: string;
}

const add = command({
  name: 'ssh-keys:add', summary: 'Let the owner of an SSH key push and give commands', example: 'berth ssh-keys:add admin < ~/.ssh/id_ed25519.pub', input: AddInput, http: { method: 'POST', path: '/ssh-keys' }, local: true,
  run: async (context, { name, file }) => {
    const text = (file ? await context.file(file, 64 << 10) : await context.stdin(64 << 10)).toString('utf8');
    const { events } = await change(context, 'ssh-keys:add', 'keys', (draft) => draft.decide(keys, 'keys', { type: 'AddSsh', name, text }));
    await context.core.writeKeys?.();
    return { name, fingerprint: (events[0]!.data as { fingerprint: string }).fingerprint };
  },
  render: ({ fingerprint }, out) => out.line(fingerprint),
});

const list = command({
  name: 'ssh-keys:list', summary: 'List the SSH keys that may push and give commands', example: 'berth ssh-keys:list', input: ListInput, http: { method: 'GET', path: '/ssh-keys' }, reads: true,
  run: async ({ core }) => (await core.board.now()).keys.map(({ name, fingerprint, at }) => ({ name, fingerprint, addedAt: new Date(at).toISOString() })),
  render: (all, out) => {
    if (all.length === 0) return out.warn('No key yet: berth ssh-keys:add admin < ~/.ssh/id_ed25519.pub');
    for (const key of all) out.line(`${key.fingerprint} NAME="${key.name}"`);
  },
});

const remove = command({
  name: 'ssh-keys:remove', summary: 'Take an SSH key\'s access away', example: 'berth ssh-keys:remove admin', input: RemoveInput, http: { method: 'DELETE', path: '/ssh-keys/:name' }, local: true,
  run: async (context, { name, fingerprint }) => {
    const value = name ?? fingerprint;
    if (value === undefined) throw new Rejected('key.which', 'Which key: a name or --fingerprint is needed', 'see: berth ssh-keys:list');
    await change(context, 'ssh-keys:remove', 'keys', (draft) => draft.decide(keys, 'keys', { type: 'RemoveSsh', by: name === undefined ? 'fingerprint' : 'name', value }));
    await context.core.writeKeys?.();
    return { removed: value };
  },
  render: ({ removed }, out) => out.info(`Removed ${removed}`),
});

/** How a token is kept: it has 256 random bits, so a plain hash is enough. */
export const tokenHash = (token: string): string => createHash('sha256').update(token).digest('hex');

const create = command({
  name: 'tokens:create', summary: 'Make a bearer token for the HTTP API; it is shown once', example: 'berth tokens:create ci', input: TokenInput, http: { method: 'POST', path: '/tokens' }, local: true,
  run: async (context, { name }) => {
    const token = `berth_${randomBytes(32).toString('base64url')}`;
    await change(context, 'tokens:create', 'keys', (draft) => draft.decide(keys, 'keys', { type: 'CreateToken', name, hash: tokenHash(token) }));
    return { name, token };
  },
  render: ({ token }, out) => out.line(token),
});

const listTokens = command({
  name: 'tokens:list', summary: 'List the tokens of the HTTP API', example: 'berth tokens:list', input: ListInput, http: { method: 'GET', path: '/tokens' }, reads: true, local: true,
  run: async ({ core }) => (await core.board.now()).tokens.map(({ name, at, by }) => ({ name, createdAt: new Date(at).toISOString(), by })),
  render: (all, out) => table(['NAME', 'CREATED (UTC)', 'BY'], all.map((t) => [t.name, when(Date.parse(t.createdAt)), t.by])).forEach((line) => out.line(line)),
});

const revoke = command({
  name: 'tokens:revoke', summary: 'Revoke a token at once', example: 'berth tokens:revoke ci', input: TokenInput, http: { method: 'DELETE', path: '/tokens/:name' }, local: true,
  run: async (context, { name }) => {
    await change(context, 'tokens:revoke', 'keys', (draft) => draft.decide(keys, 'keys', { type: 'RevokeToken', name }));
    return { revoked: name };
  },
  render: ({ revoked }, out) => out.info(`Revoked ${revoked}`),
});

export const keyCommands = [forget(add), forget(list), forget(remove), forget(create), forget(listTokens), forget(revoke)];
