import { IsBoolean, IsOptional, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { Arg, command, Flag, forget, type CommandContext } from '../commands/command.js';
import { table, when } from '../commands/words.js';
import { change } from '../draft.js';
import { checkPassword, checkUser, REGISTRY_ACCESS, registryAccess } from './registry-access.decider.js';
import { checkServer, SEAL } from './registry-access.js';

class ServerInput {
  @IsString() @Arg('the registry, such as ghcr.io or registry.example:5000; docker.io for Docker Hub', { label: 'server' }) server!: string;
}
class LoginInput extends ServerInput {
  @IsString() @Arg('who logs in', { label: 'username' }) username!: string;
  @IsOptional() @IsBoolean() @Flag('the password or token is piped in') passwordStdin?: boolean;
}
class NoInput {}

/** Piped in, or typed where nobody sees it; never a word of the command line. */
async function passwordOf(context: CommandContext, server: string, piped: boolean): Promise<string> {
  const example = `berth registry:login --password-stdin ${server} <username> < password.txt`;
  if (piped && !context.hasStdin) throw new Rejected('registry.password', 'Nothing is piped in', `for example: ${example}`);
  const text = context.hasStdin ? (await context.stdin(64 << 10)).toString('utf8') : await context.askSecret(`Password for ${server}: `).catch((error: unknown) => {
    throw error instanceof Rejected && error.code === 'input.no-terminal' ? new Rejected('registry.password', 'The password is piped in, or typed at a terminal', `for example: ${example}`) : error;
  });
  const password = text.replace(/\r?\n$/, '');
  checkPassword(password);
  return password;
}

/** The registry is asked by the engine, which is what will show it the login later. @throws Rejected */
async function tried({ core, force }: CommandContext, server: string, user: string, password: string): Promise<boolean> {
  if (!core.registries) throw new Rejected('registry.nobody', 'This process has no engine to try a login with', 'ask the API on the server', 70);
  try { await core.registries.check({ server, user, password }); return true; }
  catch (error) {
    const { statusCode, message } = error as Error & { statusCode?: number };
    const said = message.replaceAll(password, '***').replace(/^\(HTTP code \d+\) [^-]* - /, '').trim().slice(0, 300);
    if (statusCode === 401 || /unauthorized|incorrect username|denied|forbidden/i.test(message)) throw new Rejected('registry.refused', `${server} refuses this login: ${said}`, `mind the name and the password; then again: berth registry:login ${server} ${user}`);
    if (force) return false;
    throw new Rejected('registry.unreachable', `${server} could not be asked: ${said}`, `to keep the login untried: berth --force registry:login ${server} ${user}`);
  }
}

const login = command({
  name: 'registry:login', summary: 'Keep a login for an image registry (password piped in or typed)', example: 'berth registry:login --password-stdin ghcr.io ci < token.txt', input: LoginInput, http: { method: 'POST', path: '/registries/:server' },
  run: async (context, { server: text, username, passwordStdin }) => {
    const server = checkServer(text);
    checkUser(username);
    const clear = await passwordOf(context, server, passwordStdin ?? false);
    const checked = await tried(context, server, username, clear);
    await context.core.box.requireKey(SEAL);
    const password = await context.core.box.seal(SEAL, clear);
    await change(context, 'registry:login', REGISTRY_ACCESS, (draft) => draft.decide(registryAccess, REGISTRY_ACCESS, { type: 'Login', server, user: username, password }));
    return { server, username, checked };
  },
  render: ({ server, username, checked }, out) => out.info(`Login for ${server}: ${username} (${checked ? 'the registry takes it' : 'untried'}, password sealed)`),
});

const logout = command({
  name: 'registry:logout', summary: 'Forget the login for an image registry', example: 'berth registry:logout ghcr.io', input: ServerInput, http: { method: 'DELETE', path: '/registries/:server' },
  run: async (context, { server: text }) => {
    const server = checkServer(text);
    await change(context, 'registry:logout', REGISTRY_ACCESS, (draft) => draft.decide(registryAccess, REGISTRY_ACCESS, { type: 'Logout', server }));
    return { server };
  },
  render: ({ server }, out) => out.info(`Removed the login for ${server}`),
});

const list = command({
  name: 'registry:list', summary: 'List the image registries that there is a login for', example: 'berth registry:list', input: NoInput, http: { method: 'GET', path: '/registries' }, reads: true,
  run: async ({ core }) => {
    const { state } = await core.repository.load(registryAccess, REGISTRY_ACCESS);
    const set = (await core.store.readStream(REGISTRY_ACCESS)).filter(({ type }) => type === 'RegistryLoginSet');
    return Object.entries(state).map(([server, { user }]) => {
      const event = set.findLast(({ data }) => (data as { server: string }).server === server)!;
      return { server, username: user, since: new Date(event.at).toISOString(), by: event.meta.actor };
    }).toSorted((a, b) => (a.server < b.server ? -1 : 1));
  },
  render: (logins, out) => {
    if (logins.length === 0) return out.warn('None yet: berth registry:login <server> <username>');
    for (const line of table(['SERVER', 'USER', 'SINCE (UTC)', 'BY'], logins.map(({ server, username, since, by }) => [server, username, when(Date.parse(since)), by]))) out.line(line);
  },
});

export const registryCommands = [forget(login), forget(logout), forget(list)];
