import { pipelineStream } from '../apps/app-context.js';
import type { Core } from '../core.js';
import { pipeline } from '../deploys/pipeline.decider.js';
import type { Draft } from '../draft.js';
import { Unreadable } from '../../events/seal.js';
import type { Works } from '../operations/works.projection.js';
import type { AppRow } from '../read/board.projection.js';
import { passwordOf } from './link.js';
import { carries, configVersions, holds, type Hold, type Use } from './retirement.plan.js';
import type { ServiceState } from './service.decider.js';
import type { ServiceRow } from './services.projection.js';

/** The config vars of that version that have the password; nothing where the app's key is gone. */
async function keysWith(core: Core, app: string, password: string, version?: number): Promise<string[]> {
  try {
    return Object.entries(await core.env(app, version)).filter(([, value]) => carries(value, password)).map(([key]) => key);
  } catch (error) {
    if (error instanceof Unreadable) return [];
    throw error;
  }
}

const anyWith = async (core: Core, app: string, password: string, versions: readonly (number | null)[]): Promise<boolean> => {
  for (const version of versions) if (version !== null && (await keysWith(core, app, password, version)).length > 0) return true;
  return false;
};

async function useOf(core: Core, { id, name, running }: AppRow, password: string): Promise<Use> {
  const { live, starting } = configVersions((await core.repository.load(pipeline, pipelineStream(id))).state);
  const deploys = (await core.board.now()).deploys[id] ?? [];
  const newest = deploys.find(({ deploy }) => deploy === running) ?? deploys.at(-1);
  return {
    name, keys: await keysWith(core, id, password), live: await anyWith(core, id, password, [live]), starting: await anyWith(core, id, password, starting),
    deploy: newest ? { number: newest.deploy, status: newest.status } : null,
  };
}

/** What a service's login of before is still wanted for; nothing for one that has none. @throws what the engine says when it is away */
export async function holdsOf(core: Core, { former }: Pick<ServiceState, 'former'>): Promise<readonly Hold[]> {
  if (former === null) return [];
  const password = await passwordOf(core, former.secrets);
  const { apps } = await core.board.now();
  const uses = await Promise.all(Object.values(apps).map((row) => useOf(core, row, password)));
  const found = holds(uses, []);
  if (found.length > 0 || !core.engine) return found;
  const running = await core.engine.environments();
  return holds(uses, running.filter(({ env }) => env.some((line) => carries(line.slice(line.indexOf('=') + 1), password))).map(({ name }) => name));
}

/** Linked apps that run with a password of the service as it is now, or would: those that a new one has to be deployed to. */
export async function usersOf(draft: Draft, { links, secrets, former }: Pick<ServiceState, 'links' | 'secrets' | 'former'>): Promise<string[]> {
  const { core } = draft;
  const passwords = await Promise.all([secrets, ...(former ? [former.secrets] : [])].map((each) => passwordOf(core, each)));
  const users: string[] = [];
  for (const { app } of links) {
    const { live, starting, again } = configVersions((await draft.load(pipeline, pipelineStream(app))).state);
    // a deploy that has not come to its release takes the config of then
    for (const password of passwords) if (!users.includes(app) && await anyWith(core, app, password, [live, ...starting, ...again])) users.push(app);
  }
  return users;
}

/** The operation that was to shut a service's login of before out, and failed. */
export const failedRetirement = ({ failed }: Readonly<Works>, service: string) => Object.values(failed).find(({ group, kind }) => group === service && kind === 'service-retire');

/** Why the login of before is still let in, in words; null for a service that has none. */
export async function stillValid(core: Core, row: Pick<ServiceRow, 'id' | 'former' | 'wanted'>): Promise<{ readonly why: string; readonly passes: boolean; readonly todo: string | null } | null> {
  if (row.former === null) return null;
  const found = await holdsOf(core, row).catch((error: unknown) => [{ what: `who has it is not known: ${(error as Error).message}`, passes: true, todo: null }]);
  if (found.length > 0) return { why: found.map(({ what }) => what).join('; '), passes: found.every(({ passes }) => passes), todo: found.find(({ todo }) => todo !== null)?.todo ?? null };
  const failed = failedRetirement(await core.works.now(), row.id);
  if (failed) return { why: `shutting it out failed: ${failed.failure.message}`, passes: false, todo: `berth jobs:retry ${failed.job}` };
  return row.wanted === 'running' ? { why: 'it is about to be shut out', passes: true, todo: null } : { why: 'the service does not run', passes: true, todo: null };
}
