import { IsOptional, IsString, Matches } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import type { ServiceType } from '../../plugins/services/service-type.js';
import { AppInput } from '../apps/apps.commands.js';
import { Arg, command, Flag, forget, type AnyCommand, type CommandContext, type DeployAnswer } from '../commands/command.js';
import { change } from '../draft.js';
import { linkIn, promoteIn, unlinkIn } from './link.js';
import { links, services } from './service.decider.js';
import { linksStream, serviceStream } from './service-names.js';
import { ServiceInput } from './services.commands.js';

class PairInput extends ServiceInput {
  @IsString() @Arg('the app') app!: string;
}
class LinkInput extends PairInput {
  @IsOptional() @IsString() @Flag('the config var: BLUE_DATABASE sets BLUE_DATABASE_URL', { type: 'string', short: 'a', label: 'name' }) alias?: string;
  @IsOptional() @Matches(/^[\w.~%=&+-]{1,200}$/, { message: 'querystring: such as pool=5&timeout=3' }) @Flag('appended to the DSN', { type: 'string', short: 'q', label: 'a=b' }) querystring?: string;
  @IsOptional() @Flag('do not restart the app', { short: 'n' }) noRestart?: boolean;
  @IsOptional() @Flag('do not wait for its end') detach?: boolean;
}
class UnlinkInput extends PairInput {
  @IsOptional() @Flag('do not restart the app', { short: 'n' }) noRestart?: boolean;
  @IsOptional() @Flag('do not wait for its end') detach?: boolean;
}

/** The commands of one type that are about apps and it. */
export function linkCommands(type: ServiceType): AnyCommand[] {
  const t = type.type;
  const http = (path: string): string => `/services/${t}${path}`;

  /** A decision over both sides and the app's config; the app is deployed in the same transaction. */
  const both = async <T>(context: CommandContext, name: string, service: string, app: string, kind: 'link' | 'config' | null, decide: (draft: Parameters<typeof linkIn>[0], id: string, appId: string) => Promise<T>): Promise<DeployAnswer & { answer: T }> => {
    const row = await context.core.service(t, service);
    const owner = await context.core.app(app);
    const { answer } = await change(context, name, owner.id, async (draft) => {
      const { state } = await draft.load(services, serviceStream(row.id));
      if (state.status === 'destroyed') throw new Rejected('service.missing', `${t} service ${service} does not exist any more`, `see: berth ${t}:list`, 20);
      const answered = await decide(draft, row.id, owner.id);
      return { answered, deploy: kind === null ? null : await draft.deploy(owner.id, kind, context.actor) };
    });
    return { app: owner.id, name: owner.name, deploy: answer.deploy, answer: answer.answered };
  };

  const link = command({
    name: `${t}:link`, summary: `Link a ${type.title} service to an app: its DSN becomes a config var, and the app can reach it`, example: `berth ${t}:link blog blog`, input: LinkInput, http: { method: 'POST', path: http('/:service/links') },
    run: async (context, { service, app, alias, querystring, noRestart }) => {
      const { answer: key, ...rest } = await both(context, `${t}:link`, service, app, noRestart ? null : 'link', async (draft, id, appId) => {
        const { state } = await draft.load(services, serviceStream(id));
        if (state.container === null) throw new Rejected('service.not-ready', `${type.title} service ${service} is not ready yet`, `see: berth operations ${t}:${service}`);
        return linkIn(draft, id, { app: appId, appName: app, alias: alias ?? null, query: querystring ?? null });
      });
      return { ...rest, service, key };
    },
    render: ({ service, name, key, deploy }, out) => {
      out.info(`Linking ${service} to ${name} as ${key}`);
      if (deploy !== null) out.info(`Restarting app ${name}`);
    },
  });

  const unlink = command({
    name: `${t}:unlink`, summary: `Take a ${type.title} service away from an app, and its config var with it`, example: `berth ${t}:unlink blog blog`, input: UnlinkInput, http: { method: 'DELETE', path: http('/:service/links/:app') },
    run: async (context, { service, app, noRestart }) => {
      const { answer: key, ...rest } = await both(context, `${t}:unlink`, service, app, noRestart ? null : 'config', (draft, id, appId) => unlinkIn(draft, id, appId, app));
      return { ...rest, service, key };
    },
    render: ({ service, name, key, deploy }, out) => {
      out.info(`Unlinking ${service} from ${name}, unsetting ${key}`);
      if (deploy !== null) out.info(`Restarting app ${name}`);
    },
  });

  const promote = command({
    name: `${t}:promote`, summary: `Make a linked ${type.title} service the app's ${type.variable}; what was that gets the other's config var`, example: `berth ${t}:promote blog-2 blog`, input: UnlinkInput, http: { method: 'POST', path: http('/:service/links/:app/promote') },
    run: async (context, { service, app, noRestart }) => {
      const { answer, ...rest } = await both(context, `${t}:promote`, service, app, noRestart ? null : 'link', (draft, id, appId) => promoteIn(draft, id, appId, app));
      return { ...rest, service, ...answer };
    },
    render: ({ service, name, key, other }, out) => {
      out.info(`${service} is ${key} of ${name}`);
      if (other !== null) out.detail(`what was that before is ${other}`);
    },
  });

  const linked = command({
    name: `${t}:links`, summary: `List the apps that a ${type.title} service is linked to`, example: `berth ${t}:links blog`, input: ServiceInput, http: { method: 'GET', path: http('/:service/links') }, reads: true,
    run: async ({ core }, { service }) => {
      const { apps } = await core.board.now();
      return (await core.service(t, service)).links.map(({ app, key }) => ({ app: apps[app]?.name ?? app, key }));
    },
    render: (all, out) => {
      if (all.length === 0) return out.warn('It is not linked to any app');
      for (const { app } of all) out.line(app);
    },
  });

  const isLinked = command({
    name: `${t}:linked`, summary: `Say whether a ${type.title} service is linked to an app: exit 0 if so, 1 if not`, example: `berth ${t}:linked blog blog`, input: PairInput, http: { method: 'GET', path: http('/:service/links/:app') }, reads: true,
    run: async ({ core }, { service, app }) => {
      const { id } = await core.app(app);
      const found = (await core.service(t, service)).links.find((each) => each.app === id);
      return { service, app, linked: found !== undefined, key: found?.key ?? null };
    },
    render: (answer, out) => {
      if (answer.linked) out.info(`Service ${answer.service} is linked to ${answer.app} as ${answer.key}`);
      else out.warn(`Service ${answer.service} is not linked to ${answer.app}`);
      return answer.linked ? 0 : 1;
    },
  });

  const appLinks = command({
    name: `${t}:app-links`, summary: `List the ${type.title} services that an app is linked to`, example: `berth ${t}:app-links blog`, input: AppInput, http: { method: 'GET', path: `/apps/:app/services/${t}` }, reads: true,
    run: async ({ core }, { app }) => {
      const { id } = await core.app(app);
      const { rows } = await core.services.now();
      const { state } = await core.repository.load(links, linksStream(id));
      return Object.entries(state).flatMap(([service, key]) => (rows[service]?.type === t ? [{ service: rows[service].name, key }] : []));
    },
    render: (all, out) => {
      if (all.length === 0) return out.warn(`It is linked to no ${type.title} service`);
      for (const { service } of all) out.line(service);
    },
  });

  return [forget(link), forget(unlink), forget(promote), forget(linked), forget(isLinked), forget(appLinks)];
}
