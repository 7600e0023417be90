import { randomBytes } from 'node:crypto';
import { IsOptional, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { PROVIDERS, type Provider } from '../../events/types/webhook.events.js';
import { globalDomains } from '../apps/app-context.js';
import { AppInput } from '../apps/apps.commands.js';
import { checkBranch, shown } from '../apps/app.decider.js';
import { Arg, command, Flag, forget, type AnyCommand } from '../commands/command.js';
import { report, table, when } from '../commands/words.js';
import type { Core } from '../core.js';
import { urlsOf } from '../deploys/follow.js';
import { change } from '../draft.js';
import { pushHooks, pushStream, type PushState } from './push.decider.js';

const NAMES: Readonly<Record<Provider, string>> = { github: 'GitHub', gitlab: 'GitLab', gitea: 'Gitea' };

class EnableInput extends AppInput {
  @IsString() @Arg('the repository that is deployed, by https or ssh; of github.com and gitlab.com also owner/name', { label: 'repository' }) repository!: string;
  @IsOptional() @IsString() @Flag('the branch that deploys; the app\'s deploy branch unless said', { type: 'string', label: 'branch' }) branch?: string;
}

const stateOf = async (core: Core, app: string): Promise<PushState> => (await core.repository.load(pushHooks, pushStream(app))).state;

/** Where the router lets calls in: a host that no app can have by its name. */
export async function hookUrl(core: Core, provider: Provider, app: string): Promise<string> {
  const host = `berth.${globalDomains((await core.board.now()).server, core.config)[0]}`;
  return `${urlsOf([host], core.config.httpPort)[0]!.replace(/\/$/, '')}/hooks/${provider}/${app}`;
}

/** Where a repository is that people call by its owner and name; a Gitea can be anywhere. */
const HOSTS: Readonly<Partial<Record<Provider, string>>> = { github: 'github.com', gitlab: 'gitlab.com' };

function repositoryOf(provider: Provider, text: string): string {
  const host = HOSTS[provider];
  const url = host !== undefined && /^[\w-]+(?:\/[\w.-]+)+$/.test(text) ? `https://${host}/${text.replace(/\.git$/, '')}.git` : text;
  const known = /^https:\/\/[^\s/]+\/\S+$/i.test(url) || /^ssh:\/\/[^\s/]+\/\S+$/i.test(url) || /^[^\s/:@]+@[^\s/:]+:\S+$/.test(url);
  if (!known || url.length > 1000) throw new Rejected('push.repository', `'${shown(url)}' is not a repository's address`, 'for example: https://git.example.com/team/blog.git or git@git.example.com:team/blog.git');
  if (/^https?:\/\/[^/]*@/i.test(url)) throw new Rejected('push.repository', 'The address has a user or a password in it, and addresses are kept in the log', 'take it out, and: berth git:auth <host> <user>, with the token piped in');
  return url;
}

function commandsOf(provider: Provider): AnyCommand[] {
  const name = NAMES[provider];
  const where = { github: 'Settings → Webhooks → Add webhook: content type application/json, just the push event', gitlab: 'Settings → Webhooks: push events, the secret as secret token', gitea: 'Settings → Webhooks → Gitea: POST, application/json, push events' }[provider];

  const enable = command({
    name: `${provider}:enable`, summary: `Deploy an app when somebody pushes to ${name}; address and secret of the hook are shown once`, example: `berth ${provider}:enable blog https://${provider}.example.com/team/blog.git --branch main`, input: EnableInput, http: { method: 'POST', path: `/apps/:app/hooks/${provider}` }, shownOnce: true,
    run: async (context, { app, repository: text, branch }) => {
      const { core } = context;
      const row = await core.app(app);
      const repository = repositoryOf(provider, text);
      if (branch !== undefined) checkBranch(branch);
      const secret = randomBytes(32).toString('hex');
      const sealed = await core.box.seal(row.id, secret);
      await change(context, `${provider}:enable`, row.id, (draft) => draft.decide(pushHooks, pushStream(row.id), { type: 'Enable', app: row.id, provider, url: repository, branch: branch ?? null, secret: sealed }));
      return { app: row.name, provider, repository, branch: branch ?? row.branch ?? 'main', url: await hookUrl(core, provider, row.id), secret };
    },
    render: (answer, out) => {
      out.info(`${answer.app} is deployed when ${answer.branch} of ${answer.repository} is pushed to`);
      out.detail(`address: ${answer.url}`);
      out.detail(`secret, shown this once: ${answer.secret}`);
      out.detail(`at ${name}: ${where}`);
      out.detail(`is it private? berth git:auth <host> <user>, or berth git:public-key as a deploy key; what came of calls: berth ${provider}:deliveries ${answer.app}`);
    },
  });

  const disable = command({
    name: `${provider}:disable`, summary: `Deploy an app no more when somebody pushes to ${name}`, example: `berth ${provider}:disable blog`, input: AppInput, http: { method: 'DELETE', path: `/apps/:app/hooks/${provider}` },
    run: async (context, { app }) => {
      const row = await context.core.app(app);
      await change(context, `${provider}:disable`, row.id, (draft) => draft.decide(pushHooks, pushStream(row.id), { type: 'Disable', app: row.id, provider }));
      return { app: row.name, provider };
    },
    render: (answer, out) => out.info(`Calls of ${name} for ${answer.app} are not answered any more`),
  });

  const show = command({
    name: `${provider}:report`, summary: `Show an app's hook for ${name}, without its secret`, example: `berth ${provider}:report blog`, input: AppInput, http: { method: 'GET', path: `/apps/:app/hooks/${provider}` }, reads: true,
    run: async ({ core }, { app }) => {
      const row = await core.app(app);
      const { hooks, received } = await stateOf(core, row.id);
      const hook = hooks[provider];
      const last = received.findLast((call) => call.provider === provider);
      return { app: row.name, enabled: hook !== undefined, repository: hook?.url ?? null, branch: hook ? (hook.branch ?? row.branch ?? 'main') : null, url: hook ? await hookUrl(core, provider, row.id) : null, last: last ? outcome(last) : null };
    },
    render: (answer, out) => {
      for (const line of report(`${answer.app} ${provider} information`, { [`${provider} enabled`]: String(answer.enabled), [`${provider} repository`]: answer.repository ?? '', [`${provider} branch`]: answer.branch ?? '', [`${provider} address`]: answer.url ?? '', [`${provider} last call`]: answer.last ?? 'none' })) out.line(line);
    },
  });

  const deliveries = command({
    name: `${provider}:deliveries`, summary: `List the calls of ${name} for an app and what came of each: the deploy, or why there was none`, example: `berth ${provider}:deliveries blog`, input: AppInput, http: { method: 'GET', path: `/apps/:app/hooks/${provider}/deliveries` }, reads: true,
    run: async ({ core }, { app }) => {
      const row = await core.app(app);
      const at = new Map((await core.store.readAll(0, Number.MAX_SAFE_INTEGER, { stream: pushStream(row.id), types: ['PushReceived'] })).map((event) => [(event.data as { delivery: string }).delivery, event.at]));
      const calls = (await stateOf(core, row.id)).received.filter((call) => call.provider === provider).slice(-50).reverse();
      return { app: row.name, deliveries: calls.map((call) => ({ ...call, at: new Date(at.get(call.delivery) ?? 0).toISOString(), outcome: outcome(call) })), refused: core.refusedCalls.get(row.id) ?? null };
    },
    render: ({ app, deliveries: rows, refused }, out) => {
      if (refused) out.warn(`${refused.count} ${refused.count === 1 ? 'call was' : 'calls were'} not let in since the API started; the last at ${when(refused.at)}: ${refused.why}`);
      if (rows.length === 0) return out.info(`No call of ${name} came for ${app} yet`);
      for (const line of table(['AT (UTC)', 'DELIVERY', 'REF', 'COMMIT', 'WHAT CAME OF IT'], rows.map((r) => [when(Date.parse(r.at)), r.delivery, r.ref.replace('refs/heads/', ''), r.commit.slice(0, 7), r.outcome]))) out.line(line);
    },
  });

  return [forget(enable), forget(disable), forget(show), forget(deliveries)];
}

const outcome = ({ deploy, reason, operation }: PushState['received'][number]): string => (deploy !== null ? `deploy ${deploy}` : (reason ?? `operation ${operation} looks what is to be deployed`));

export const pushCommands = PROVIDERS.flatMap(commandsOf);
