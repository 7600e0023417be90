import { Rejected } from '../../events/decider.js';
import { dsnOf } from '../../plugins/services/types.js';
import type { ServiceType } from '../../plugins/services/service-type.js';
import { configStream } from '../apps/app-context.js';
import { config } from '../config/config.decider.js';
import type { Core } from '../core.js';
import type { Draft } from '../draft.js';
import { links, services, type Link, type ServiceState } from './service.decider.js';
import { linksStream, serviceStream } from './service-names.js';
import { typeOf } from './type-of.js';

/** names of config vars for a second database and further ones, as Heroku and Dokku give them */
export const COLOURS = ['AQUA', 'BLACK', 'BLUE', 'FUCHSIA', 'GRAY', 'GREEN', 'LIME', 'MAROON', 'NAVY', 'OLIVE', 'PURPLE', 'RED', 'SILVER', 'TEAL', 'WHITE', 'YELLOW'] as const;

/** The config var of a link: the type's usual one, or the first colour that is free. Pure. @throws Rejected */
export function freeKey(type: Pick<ServiceType, 'type' | 'title' | 'variable'>, taken: (key: string) => boolean): string {
  const keys = [type.variable, ...COLOURS.map((colour) => `${type.type.toUpperCase()}_${colour}_URL`)];
  const free = keys.find((key) => !taken(key));
  if (free === undefined) throw new Rejected('service.aliases', `Every config var for a ${type.title} is taken`, 'choose one: --alias NAME');
  return free;
}

/** `BLUE_DATABASE` → `BLUE_DATABASE_URL`. @throws Rejected */
export function aliasKey(alias: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,60}$/.test(alias)) throw new Rejected('service.alias', 'An alias has letters, digits and underscores, no digit first', 'for example: --alias BLUE_DATABASE sets BLUE_DATABASE_URL');
  const name = alias.toUpperCase();
  return name.endsWith('_URL') ? name : `${name}_URL`;
}

export async function passwordOf(core: Pick<Core, 'box'>, secrets: ServiceState['secrets']): Promise<string> {
  return core.box.unseal(secrets['password']!);
}

/** The DSN of a link, with the password as it is in the draft. */
async function dsn(draft: Draft, service: ServiceState, query: string | null): Promise<string> {
  return dsnOf(await typeOf(draft.core, service), service.name, await passwordOf(draft.core, service.secrets), query, service.turn);
}

async function setVar(draft: Draft, app: string, key: string, value: string): Promise<void> {
  await draft.decide(config, configStream(app), { type: 'Set', app, values: { [key]: await draft.core.box.seal(app, value) } });
}

export interface LinkWish { readonly app: string; readonly appName: string; readonly alias: string | null; readonly query: string | null }

/** Links in a draft: both sides, and the config var; the deploy is the caller's. Answers the config var. @throws Rejected */
export async function linkIn(draft: Draft, service: string, { app, appName, alias, query }: LinkWish): Promise<string> {
  const { state } = await draft.load(services, serviceStream(service));
  const { state: vars } = await draft.load(config, configStream(app));
  const type = await typeOf(draft.core, state);
  const wanted = alias === null ? null : aliasKey(alias);
  if (wanted !== null && Object.hasOwn(vars, wanted)) throw new Rejected('service.alias-taken', `${appName} has a config var ${wanted} already`, 'choose another alias');
  const key = wanted ?? freeKey(type, (each) => Object.hasOwn(vars, each));
  await draft.decide(services, serviceStream(service), { type: 'Link', app, appName, key, query });
  await draft.decide(links, linksStream(app), { type: 'Link', app, service, key });
  await setVar(draft, app, key, await dsn(draft, state, query));
  return key;
}

/** The other way round. @throws Rejected */
export async function unlinkIn(draft: Draft, service: string, app: string, appName: string): Promise<string> {
  const [event] = await draft.decide(services, serviceStream(service), { type: 'Unlink', app, appName });
  await draft.decide(links, linksStream(app), { type: 'Unlink', app, service });
  const { key } = event!.data as { key: string };
  await draft.decide(config, configStream(app), { type: 'Unset', app, keys: [key] });
  return key;
}

/** The app is destroyed: its services lose their links to it. */
export async function unlinkAll(draft: Draft, app: string): Promise<void> {
  const { state } = await draft.load(links, linksStream(app));
  for (const service of Object.keys(state)) {
    await draft.decide(services, serviceStream(service), { type: 'Unlink', app, appName: app });
    await draft.decide(links, linksStream(app), { type: 'Unlink', app, service });
  }
}

/** Gives the service the type's usual config var; what had it gets the one that the service had. Answers both. @throws Rejected */
export async function promoteIn(draft: Draft, service: string, app: string, appName: string): Promise<{ key: string; other: string | null }> {
  const { state } = await draft.load(services, serviceStream(service));
  const { variable } = await typeOf(draft.core, state);
  const link = state.links.find((each) => each.app === app);
  if (!link) throw new Rejected('service.not-linked', `${state.type} service ${state.name} is not linked to ${appName}`, `first: berth ${state.type}:link ${state.name} ${appName}`);
  if (link.key === variable) throw new Rejected('service.promoted', `${state.type} service ${state.name} is ${variable} of ${appName} already`);
  const { state: vars } = await draft.load(config, configStream(app));
  const before = vars[variable];
  const holder = Object.entries((await draft.load(links, linksStream(app))).state).find(([, key]) => key === variable)?.[0];
  await relink(draft, service, app, appName, { ...link, key: variable });
  if (holder !== undefined) {
    const other = (await draft.load(services, serviceStream(holder))).state;
    await relink(draft, holder, app, appName, { ...other.links.find((each) => each.app === app)!, key: link.key });
  } else if (before) await draft.decide(config, configStream(app), { type: 'Set', app, values: { [link.key]: before } });
  else await draft.decide(config, configStream(app), { type: 'Unset', app, keys: [link.key] });
  return { key: variable, other: before ? link.key : null };
}

async function relink(draft: Draft, service: string, app: string, appName: string, { key, query }: Link): Promise<void> {
  const { state } = await draft.load(services, serviceStream(service));
  await draft.decide(services, serviceStream(service), { type: 'Unlink', app, appName });
  await draft.decide(services, serviceStream(service), { type: 'Link', app, appName, key, query });
  await draft.decide(links, linksStream(app), { type: 'Unlink', app, service });
  await draft.decide(links, linksStream(app), { type: 'Link', app, service, key });
  await setVar(draft, app, key, await dsn(draft, state, query));
}

/** The password has changed: every linked app gets the DSN anew. */
export async function renewDsns(draft: Draft, service: string): Promise<void> {
  const { state } = await draft.load(services, serviceStream(service));
  for (const { app, key, query } of state.links) await setVar(draft, app, key, await dsn(draft, state, query));
}
