import { Transform } from 'class-transformer';
import { IsInt, IsOptional, Min } from 'class-validator';
import { never, Rejected } from '../../events/decider.js';
import { Unreadable } from '../../events/seal.js';
import { appStream, configStream, processStream } from '../apps/app-context.js';
import { apps } from '../apps/app.decider.js';
import { renameApp } from '../apps/apps.commands.js';
import { Arg, command, Flag, forget, type CommandContext, type DeployAnswer } from '../commands/command.js';
import { when } from '../commands/words.js';
import { config } from '../config/config.decider.js';
import { addHosts, removeHosts, setGlobalDomains } from '../domains/domains.commands.js';
import { change, type Draft } from '../draft.js';
import { keys } from '../keys/key.decider.js';
import { processes } from '../processes/process.decider.js';
import type { AppRow } from '../read/board.projection.js';
import { server } from '../server/server.decider.js';
import { undoable, undoOf, type Opposite } from './undo.plan.js';

const POSITION = 'position: a number from 1 on, as berth events shows it';

class UndoInput {
  @Transform(({ value }) => (typeof value === 'string' && /^#?\d{1,15}$/.test(value) ? Number(value.replace('#', '')) : value))
  @IsInt({ message: POSITION }) @Min(1, { message: POSITION }) @Arg('the event, as berth events shows it') position!: number;
  @IsOptional() @Flag('do not restart the app') noRestart?: boolean;
}

/** what only the server's own shell may change, in whichever direction */
const LOCAL: ReadonlySet<Opposite['kind']> = new Set(['global-domains', 'server-setting', 'ssh-add', 'ssh-remove']);

/** The opposite in words. */
export function wordsOf(opposite: Opposite): string {
  switch (opposite.kind) {
    case 'config': return [...Object.keys(opposite.set).map((key) => `${key} back to its former value`), ...opposite.unset.map((key) => `${key} unset`)].join(', ');
    case 'scale': return Object.entries(opposite.changes).map(([type, n]) => `${type}=${n}`).join(' ');
    case 'domain-add': return `${opposite.domain} added`;
    case 'domain-remove': return `${opposite.domain} removed`;
    case 'rename': return `renamed to ${opposite.to}`;
    case 'branch': return `deploy branch ${opposite.branch ?? 'not set'}`;
    case 'setting': case 'server-setting': return `${opposite.key} ${opposite.value ?? 'not set'}`;
    case 'global-domains': return `global domains ${opposite.domains.join(' ') || 'as the environment has them'}`;
    case 'trace': return `trace mode ${opposite.on ? 'on' : 'off'}`;
    case 'ssh-add': return `SSH key ${opposite.name} added`;
    case 'ssh-remove': return `SSH key ${opposite.name} removed`;
    default: return never(opposite);
  }
}

/** Decides the opposite as the command would that does it by hand; answers the deploy that follows. */
async function apply(draft: Draft, context: CommandContext, opposite: Opposite, noRestart: boolean): Promise<number | null> {
  const { core, actor } = context;
  const row = async (app: string): Promise<AppRow> => {
    const found = (await core.board.now()).apps[app];
    if (!found) throw new Rejected('app.missing', 'The app was destroyed since', 'see: berth apps:list', 20);
    return found;
  };
  switch (opposite.kind) {
    case 'config': {
      const { app, set, unset } = opposite;
      await row(app);
      try {
        for (const sealed of Object.values(set)) await core.box.unseal(sealed);
      } catch (error) {
        if (error instanceof Unreadable) throw new Rejected('undo.unreadable', `The former values cannot be opened any more: ${error.message}`);
        throw error;
      }
      const state = (await draft.load(config, configStream(app))).state;
      const fresh = Object.fromEntries(Object.entries(set).filter(([key, value]) => state[key]?.ct !== value.ct || state[key]?.iv !== value.iv));
      const events = [...await draft.decide(config, configStream(app), { type: 'Set', app, values: fresh }), ...await draft.decide(config, configStream(app), { type: 'Unset', app, keys: unset })];
      return events.length > 0 && !noRestart ? draft.deploy(app, 'config', actor) : null;
    }
    case 'scale': {
      await row(opposite.app);
      // types that the release of today lacks may be scaled: they were
      const events = await draft.decide(processes, processStream(opposite.app), { type: 'Scale', app: opposite.app, changes: opposite.changes, known: null });
      return events.length > 0 ? draft.deploy(opposite.app, 'scale', actor) : null;
    }
    case 'domain-add': return addHosts(draft, context, await row(opposite.app), [opposite.domain]);
    case 'domain-remove': return removeHosts(draft, actor, await row(opposite.app), [opposite.domain]);
    case 'rename': return renameApp(draft, actor, await row(opposite.app), opposite.to);
    case 'branch': {
      await row(opposite.app);
      await draft.decide(apps, appStream(opposite.app), { type: 'SetBranch', branch: opposite.branch, why: 'set' });
      return null;
    }
    case 'setting': {
      const { app, key, value } = opposite;
      await row(app);
      const events = await draft.decide(apps, appStream(app), { type: 'Set', key, value });
      // as resource:limit has it: what only builds feel restarts nothing
      return events.length > 0 && !key.startsWith('build-') && !noRestart ? draft.deploy(app, key === 'domains-default' ? 'domains' : 'restart', actor) : null;
    }
    case 'global-domains':
      await setGlobalDomains(draft, actor, Object.values((await core.board.now()).apps).filter((app) => app.live), opposite.domains);
      return null;
    case 'trace': await draft.decide(server, 'server', { type: 'Trace', on: opposite.on }); return null;
    case 'server-setting': await draft.decide(server, 'server', { type: 'Set', key: opposite.key, value: opposite.value }); return null;
    case 'ssh-add': await draft.decide(keys, 'keys', { type: 'AddSsh', name: opposite.name, text: opposite.key }); return null;
    case 'ssh-remove': await draft.decide(keys, 'keys', { type: 'RemoveSsh', by: 'name', value: opposite.name }); return null;
    default: return never(opposite);
  }
}

interface Undone extends DeployAnswer { readonly undone: { readonly position: number; readonly type: string; readonly by: string; readonly at: number }; readonly words: string; readonly changed: boolean }

const undo = command({
  name: 'undo', summary: 'Do the opposite of what an event did, or say why that cannot be', example: 'berth undo 1234', input: UndoInput, http: { method: 'POST', path: '/events/:position/undo' },
  run: async (context, { position, noRestart }): Promise<Undone> => {
    const { core } = context;
    const [event] = await core.store.readAll(position - 1, 1);
    if (event?.position !== position) throw new Rejected('undo.missing', `There is no event ${position}`, 'see: berth events');
    undoable(event); // before a long stream is read for nothing
    const app = (event.data as { app?: string }).app ?? null;
    const { opposite } = undoOf(event, await core.store.readStream(event.stream));
    if (LOCAL.has(opposite.kind) && context.origin !== 'local') throw new Rejected('command.local', `${event.type} can only be undone on the server itself`, `as root: berth undo ${position}`);
    const refuseOverwritten = async (): Promise<void> => {
      const { overwritten } = undoOf(event, await core.store.readStream(event.stream));
      if (!overwritten || context.force) return;
      throw new Rejected('undo.overwritten', `Event ${position} is not the newest word: ${overwritten.type} changed the same at position ${overwritten.position}, by ${overwritten.meta.actor} at ${when(overwritten.at)} UTC`, `undo that one first, or all the same: berth --force undo ${position}`);
    };
    const { answer, events } = await change(context, 'undo', app ?? event.stream, async (draft) => {
      await refuseOverwritten();
      const deploy = await apply(draft, context, opposite, noRestart ?? false);
      await refuseOverwritten(); // by what came before the decision; what comes later makes the transaction a conflict
      return { words: wordsOf(opposite), deploy };
    }, event.id);
    if (event.stream === 'keys' && events.length > 0) await core.writeKeys?.();
    const name = app === null ? '' : ((await core.board.now()).apps[app]?.name ?? '');
    return { app: app ?? '', name, deploy: answer.deploy, undone: { position, type: event.type, by: event.meta.actor, at: event.at }, words: answer.words, changed: events.length > 0 };
  },
  render: ({ name, undone, words, changed }, out) => {
    if (!changed) return out.info(`Nothing to undo: it is as it was before event ${undone.position}`);
    out.info(`Undoing ${undone.type} of ${when(undone.at)} UTC by ${undone.by}${name ? ` for ${name}` : ''}: ${words}`);
  },
});

export const undoCommands = [forget(undo)];
