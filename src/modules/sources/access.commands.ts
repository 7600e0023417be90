import { IsOptional, IsString, Matches } from 'class-validator';
import { hostKeys, makeKeyPair } from '../../drivers/git/ssh-tools.js';
import { Rejected } from '../../events/decider.js';
import { Arg, command, Flag, forget, type CommandContext } from '../commands/command.js';
import { change } from '../draft.js';
import { checkHost, checkLogin, GIT_ACCESS, gitAccess } from './git-access.decider.js';
import { SEAL } from './git-access.js';

class AuthInput {
  @IsString() @Arg('the host, such as git.example.com', { label: 'host' }) host!: string;
  @IsOptional() @IsString() @Arg('the user; without one the login is removed', { optional: true, label: 'user' }) user?: string;
}
class HostInput {
  @IsString() @Arg('the host, such as git.example.com', { label: 'host' }) host!: string;
  @IsOptional() @Matches(/^\d{1,5}$/, { message: 'port: a number' }) @Flag('its SSH port', { type: 'string', label: 'port' }) port?: string;
}
class NoInput {}

/** The token: piped in, or typed where nobody sees it; never a word of the command line. */
async function tokenOf(context: CommandContext, host: string): Promise<string> {
  const text = context.hasStdin ? (await context.stdin(64 << 10)).toString('utf8') : await context.askSecret(`Token for ${host}: `).catch((error: unknown) => {
    throw error instanceof Rejected && error.code === 'input.no-terminal' ? new Rejected('git.token', 'The token is piped in, or typed at a terminal', `for example: berth git:auth ${host} ci < token.txt`) : error;
  });
  const token = text.replace(/\r?\n$/, '');
  checkLogin('token', token);
  return token;
}

const auth = command({
  name: 'git:auth', summary: 'Keep a login for a git server (token piped in or typed), or remove it', example: 'berth git:auth git.example.com ci < token.txt', input: AuthInput, http: { method: 'POST', path: '/git/logins/:host' },
  run: async (context, { host: text, user }) => {
    const host = checkHost(text);
    if (user === undefined) {
      await change(context, 'git:auth', GIT_ACCESS, (draft) => draft.decide(gitAccess, GIT_ACCESS, { type: 'RemoveLogin', host }));
      return { host, user: null };
    }
    checkLogin('user', user);
    const clear = await tokenOf(context, host);
    await context.core.box.requireKey(SEAL);
    const token = await context.core.box.seal(SEAL, clear);
    await change(context, 'git:auth', GIT_ACCESS, (draft) => draft.decide(gitAccess, GIT_ACCESS, { type: 'SetLogin', host, user, token }));
    return { host, user };
  },
  render: ({ host, user }, out) => out.info(user === null ? `Removed the login for ${host}` : `Login for ${host}: ${user} (token sealed)`),
});

const authReport = command({
  name: 'git:auth-report', summary: 'List the git servers that there is a login or a key for', example: 'berth git:auth-report', input: NoInput, http: { method: 'GET', path: '/git/logins' }, reads: true,
  run: async ({ core }) => {
    const { logins, hosts, deployKey } = (await core.repository.load(gitAccess, GIT_ACCESS)).state;
    return { logins: Object.entries(logins).map(([host, { user }]) => ({ host, user })), hosts: Object.keys(hosts).sort(), deployKey: deployKey?.publicKey ?? null };
  },
  render: ({ logins, hosts, deployKey }, out) => {
    for (const { host, user } of logins) out.line(`login       ${host}  ${user}`);
    for (const host of hosts) out.line(`host keys   ${host}`);
    if (deployKey !== null) out.line(`deploy key  ${deployKey}`);
    if (logins.length + hosts.length === 0 && deployKey === null) out.warn('None yet: berth git:auth, berth git:generate-deploy-key, berth git:allow-host');
  },
});

const allowHost = command({
  name: 'git:allow-host', summary: 'Keep the SSH keys that a git server shows now, and trust only those', example: 'berth git:allow-host git.example.com', input: HostInput, http: { method: 'POST', path: '/git/hosts/:host' },
  run: async (context, { host: text, port = '22' }) => {
    const host = checkHost(text);
    if (Number(port) < 1 || Number(port) > 65535) throw new Rejected('git.port', `${port} is not a port`);
    const keys = await hostKeys(host, Number(port));
    await change(context, 'git:allow-host', GIT_ACCESS, (draft) => draft.decide(gitAccess, GIT_ACCESS, { type: 'AllowHost', host, keys }));
    return { host, keys };
  },
  render: ({ host, keys }, out) => {
    out.info(`${host} is trusted by ${keys.length} ${keys.length === 1 ? 'key' : 'keys'}`);
    for (const key of keys) out.detail(key.slice(0, 100));
  },
});

const generate = command({
  name: 'git:generate-deploy-key', summary: 'Make the SSH key by which git servers know this server', example: 'berth git:generate-deploy-key', input: NoInput, http: { method: 'POST', path: '/git/deploy-key' },
  run: async (context) => {
    const { core, force } = context;
    const { deployKey } = (await core.repository.load(gitAccess, GIT_ACCESS)).state;
    if (deployKey !== null && !force) gitAccess.decide({ type: 'MakeKey', ...deployKey, again: false }, { logins: {}, hosts: {}, deployKey }); // throws
    const made = await makeKeyPair(`berth@${core.config.host}`);
    await core.box.requireKey(SEAL);
    const privateKey = await core.box.seal(SEAL, made.privateKey);
    await change(context, 'git:generate-deploy-key', GIT_ACCESS, (draft) => draft.decide(gitAccess, GIT_ACCESS, { type: 'MakeKey', publicKey: made.publicKey, privateKey, again: force }));
    return { publicKey: made.publicKey };
  },
  render: ({ publicKey }, out) => out.line(publicKey),
});

const publicKey = command({
  name: 'git:public-key', summary: 'Print the public key by which git servers know this server', example: 'berth git:public-key', input: NoInput, http: { method: 'GET', path: '/git/deploy-key' }, reads: true,
  run: async ({ core }) => {
    const { deployKey } = (await core.repository.load(gitAccess, GIT_ACCESS)).state;
    if (deployKey === null) throw new Rejected('git.key-missing', 'There is no deploy key yet', 'make one: berth git:generate-deploy-key');
    return { publicKey: deployKey.publicKey };
  },
  render: ({ publicKey: key }, out) => out.line(key),
});

export const accessCommands = [forget(auth), forget(authReport), forget(allowHost), forget(generate), forget(publicKey)];
