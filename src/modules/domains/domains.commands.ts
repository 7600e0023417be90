import { IsArray, IsOptional, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { appStream, globalDomains, hostsOf } from '../apps/app-context.js';
import { apps, checkDomain } from '../apps/app.decider.js';
import { AppInput } from '../apps/apps.commands.js';
import { claims } from '../apps/claim.decider.js';
import { Arg, command, forget, Rest, type CommandContext, type DeployAnswer } from '../commands/command.js';
import { report } from '../commands/words.js';
import { change, type Draft } from '../draft.js';
import type { AppRow } from '../read/board.projection.js';
import { server } from '../server/server.decider.js';

class DomainsInput extends AppInput {
  @IsArray() @IsString({ each: true }) @Rest('host names such as www.example.com', { label: 'domain' }) domains!: string[];
}
class GlobalInput {
  @IsArray() @IsString({ each: true }) @Rest('apps answer at <app>.<domain>', { label: 'domain' }) domains!: string[];
}
class ReportInput {
  @IsOptional() @IsString() @Arg('the app; all apps when there is none', { optional: true }) app?: string;
}

/** Gives hosts to an app; answers the deploy that routes them. @throws Rejected when another app has one of them */
export async function addHosts(draft: Draft, { core, actor }: Pick<CommandContext, 'core' | 'actor'>, row: AppRow, hosts: readonly string[]): Promise<number | null> {
  const board = await core.board.now();
  let changed = 0;
  for (const host of hosts) {
    const holder = (await draft.load(claims, `domain-${host}`)).state;
    const other = Object.values(board.apps).find((a) => a.id !== row.id && (a.id === holder || hostsOf(a, globalDomains(board.server, core.config)).includes(host)));
    if (other) throw new Rejected('domain.taken', `${host} belongs to app ${other.name}`, `take it away there first: berth domains:remove ${other.name} ${host}`);
    await draft.decide(claims, `domain-${host}`, { type: 'Claim', name: host, app: row.id });
    changed += (await draft.decide(apps, appStream(row.id), { type: 'AddDomain', domain: host })).length;
  }
  return changed > 0 ? draft.deploy(row.id, 'domains', actor) : null;
}

export async function removeHosts(draft: Draft, actor: string, row: AppRow, hosts: readonly string[]): Promise<number | null> {
  for (const host of hosts) {
    await draft.decide(apps, appStream(row.id), { type: 'RemoveDomain', domain: host });
    await draft.decide(claims, `domain-${host}`, { type: 'Release', name: host, app: row.id });
  }
  return draft.deploy(row.id, 'domains', actor);
}

/** Sets the domains of all default addresses, and routes every deployed app anew. */
export async function setGlobalDomains(draft: Draft, actor: string, deployed: readonly AppRow[], domains: readonly string[]): Promise<void> {
  const events = await draft.decide(server, 'server', { type: 'SetDomains', domains });
  if (events.length > 0) for (const row of deployed) await draft.deploy(row.id, 'domains', actor);
}

const add = command({
  name: 'domains:add', summary: 'Let an app answer at more host names', example: 'berth domains:add blog www.example.com', input: DomainsInput, http: { method: 'POST', path: '/apps/:app/domains' },
  run: async (context, { app, domains }): Promise<DeployAnswer & { domains: string[] }> => {
    const row = await context.core.app(app);
    const hosts = domains.map(checkDomain);
    const { answer } = await change(context, 'domains:add', row.id, (draft) => addHosts(draft, context, row, hosts));
    return { app: row.id, name: app, deploy: answer, domains: hosts };
  },
  render: ({ name, domains }, out) => out.info(`Added ${domains.join(', ')} to ${name}`),
});

const remove = command({
  name: 'domains:remove', summary: 'Take host names away from an app', example: 'berth domains:remove blog www.example.com', input: DomainsInput, http: { method: 'DELETE', path: '/apps/:app/domains' },
  run: async (context, { app, domains }): Promise<DeployAnswer & { domains: string[] }> => {
    const row = await context.core.app(app);
    const hosts = domains.map(checkDomain);
    const { answer } = await change(context, 'domains:remove', row.id, (draft) => removeHosts(draft, context.actor, row, hosts));
    return { app: row.id, name: app, deploy: answer, domains: hosts };
  },
  render: ({ name, domains }, out) => out.info(`Removed ${domains.join(', ')} from ${name}`),
});

const setGlobal = command({
  name: 'domains:set-global', summary: 'Set the domains under which every app gets its default address', example: 'berth domains:set-global apps.example.com', input: GlobalInput, http: { method: 'PUT', path: '/domains' }, local: true,
  run: async (context, { domains }) => {
    const board = await context.core.board.now();
    const deployed = Object.values(board.apps).filter((row) => row.live);
    await change(context, 'domains:set-global', 'server', (draft) => setGlobalDomains(draft, context.actor, deployed, domains));
    return { domains: globalDomains((await context.core.board.now()).server, context.core.config), apps: deployed.length };
  },
  render: ({ domains, apps: n }, out) => out.info(`Set ${domains.join(', ')}; ${n} deployed app${n === 1 ? ' is' : 's are'} routed anew in the background`),
});

const show = command({
  name: 'domains:report', summary: 'Show the domains of an app, of all, and of the server', example: 'berth domains:report blog', input: ReportInput, http: { method: 'GET', path: '/reports/domains' }, reads: true,
  run: async ({ core }, { app }) => {
    const board = await core.board.now();
    const global = globalDomains(board.server, core.config);
    const rows = app ? [await core.app(app)] : Object.keys(board.names).sort().map((name) => board.apps[board.names[name]!]!);
    return rows.map((row) => ({ app: row.name, vhosts: hostsOf(row, global), live: row.live?.hosts ?? [], globalVhosts: [...global] }));
  },
  render: (answers, out) => {
    for (const { app, vhosts, live, globalVhosts } of answers) {
      const values = { 'domains app vhosts': vhosts.join(' '), 'domains routed now': live.join(' '), 'domains global vhosts': globalVhosts.join(' ') };
      for (const line of report(`${app} domains information`, values)) out.line(line);
    }
  },
});

export const domainCommands = [forget(add), forget(remove), forget(setGlobal), forget(show)];
