import { Rejected } from '../../events/decider.js';
import type { DeploySource } from '../../events/types/deploy.events.js';
import { appStream } from '../apps/app-context.js';
import { apps } from '../apps/app.decider.js';
import type { CommandContext } from '../commands/command.js';
import type { Core } from '../core.js';
import { NO_SOURCE } from '../deploys/deploys.service.js';
import { change } from '../draft.js';
import type { AppRow } from '../read/board.projection.js';
import type { Sources } from './sources.js';

export function sourcesOf(core: Core): Sources {
  if (!core.sources || !core.git) throw new Rejected('git.none', 'This server has no git');
  return core.sources;
}

/** `Name <address>`: who was named, else who asks. @throws Rejected for what cannot stand in a commit */
export function authorOf({ actor, core }: Pick<CommandContext, 'actor' | 'core'>, name?: string, mail?: string): string {
  const who = name ?? actor.replace(/^(key|token):/, '').replace(/@.*$/, '');
  const address = mail ?? `${who.replaceAll(/[^A-Za-z0-9._-]+/g, '-')}@${core.config.host}`;
  // eslint-disable-next-line no-control-regex
  if (/[<>\u0000-\u001f\u007f]/.test(who + address) || who.trim() === '' || address.length > 254 || who.length > 200) throw new Rejected('git.author', 'An author has a name and an address without < and >', 'for example: berth git:from-archive blog - "Ada Lovelace" ada@example.com < blog.tar');
  return `${who.trim()} <${address.trim()}>`;
}

/** Asks for the deploy of something that nobody pushed; a first one chooses the deploy branch. */
export async function deployCommit(context: CommandContext, name: string, row: AppRow, source: Pick<DeploySource, 'sha' | 'branch' | 'origin'>): Promise<number | null> {
  const { answer } = await change(context, name, row.id, async (draft) => {
    const { branch } = source;
    if (branch !== null && row.branch === null) await draft.decide(apps, appStream(row.id), { type: 'SetBranch', branch, why: 'first-push' });
    return draft.deploy(row.id, 'push', context.actor, { ...NO_SOURCE, ...source });
  });
  return answer;
}
