import { IsArray, IsOptional, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { AppInput } from '../apps/apps.commands.js';
import { processStream } from '../apps/app-context.js';
import { Arg, command, forget, Rest, type DeployAnswer } from '../commands/command.js';
import { report } from '../commands/words.js';
import { change } from '../draft.js';
import type { AppRow } from '../read/board.projection.js';
import { parseScale, processes } from './process.decider.js';

class ScaleInput extends AppInput {
  @IsOptional() @IsArray() @IsString({ each: true }) @Rest('how many of which; shows the formation when there is none', { label: 'process type=count', optional: true }) scale?: string[];
}
class ReportInput {
  @IsOptional() @IsString() @Arg('the app; all apps when there is none', { optional: true }) app?: string;
}

/** The formation as the live release has it: types it lacks are left out, types nobody scaled are 0 (web: 1). */
export function formationOf(row: AppRow): Record<string, number> {
  const release = row.releases.find((r) => r.number === row.live?.release);
  const types = release ? Object.keys(release.spec.processTypes) : Object.keys(row.formation);
  return Object.fromEntries(types.sort().map((type) => [type, row.formation[type] ?? (type === 'web' ? 1 : 0)]));
}

interface Scaled extends DeployAnswer { readonly formation: Record<string, number>; readonly changed: readonly string[]; readonly asked: boolean; readonly live: boolean }

const scale = command({
  name: 'ps:scale', summary: 'Show or set how many containers of each process type run', example: 'berth ps:scale blog web=3', input: ScaleInput, http: { method: 'POST', path: '/apps/:app/scale' }, reads: true,
  run: async (context, { app, scale: words = [] }): Promise<Scaled> => {
    const row = await context.core.app(app);
    if (words.length === 0) return { app: row.id, name: app, deploy: null, formation: formationOf(row), changed: [], asked: false, live: row.live !== null };
    const changes = parseScale(words);
    const release = row.releases.find((r) => r.number === row.live?.release);
    const known = release ? Object.keys(release.spec.processTypes) : null;
    const { answer } = await change(context, 'ps:scale', row.id, async (draft) => {
      const events = await draft.decide(processes, processStream(row.id), { type: 'Scale', app: row.id, changes, known });
      return events.length > 0 ? draft.deploy(row.id, 'scale', context.actor) : null;
    });
    return { app: row.id, name: app, deploy: answer, formation: formationOf(await context.core.app(app)), changed: Object.entries(changes).map(([type, n]) => `${type}=${n}`), asked: true, live: row.live !== null };
  },
  render: (answer, out) => {
    if (answer.asked) {
      out.info(`Scaling ${answer.name} processes: ${answer.changed.join(' ')}`);
      if (answer.deploy === null) out.detail(answer.live ? 'that is how it runs already' : 'the first deploy will start them');
      return;
    }
    if (!out.quiet) {
      out.info(`Scaling for ${answer.name}`);
      out.line('proctype: qty');
      out.line('--------: ---');
    }
    for (const [type, n] of Object.entries(answer.formation)) out.line(`${`${type}:`.padEnd(5)} ${n}`);
  },
});

const restart = command({
  name: 'ps:restart', summary: 'Restart an app\'s containers, one release beside the other, without building', example: 'berth ps:restart blog', input: AppInput, http: { method: 'POST', path: '/apps/:app/restart' },
  run: async (context, { app }): Promise<DeployAnswer> => {
    const row = await context.core.app(app);
    if (!row.live) throw new Rejected('app.not-deployed', `App ${app} has not been deployed yet`, `git push berth main`);
    const { answer } = await change(context, 'ps:restart', row.id, (draft) => draft.deploy(row.id, 'restart', context.actor));
    return { app: row.id, name: app, deploy: answer };
  },
  render: ({ name }, out) => out.info(`Restarting app ${name}`),
});

interface PsReport { app: string; deployed: boolean; release: number | null; processes: { name: string; state: string; id: string; address: string }[] }

function psReport(row: AppRow, states: ReadonlyMap<string, string>): PsReport {
  const processes = (row.live?.containers ?? []).map((c) => ({ name: `${c.type}.${c.index}`, state: states.get(c.id) ?? 'missing', id: c.id.slice(0, 12), address: `${c.ip}:${c.port}` }));
  return { app: row.name, deployed: row.live !== null, release: row.live?.release ?? null, processes };
}

const psReportCommand = command({
  name: 'ps:report', summary: 'Show what runs: release, containers, their state', example: 'berth ps:report blog', input: ReportInput, http: { method: 'GET', path: '/reports/ps' }, reads: true,
  run: async ({ core }, { app }) => {
    const board = await core.board.now();
    const rows = app ? [await core.app(app)] : Object.keys(board.names).sort().map((name) => board.apps[board.names[name]!]!);
    const states = (await core.engine?.states()) ?? new Map<string, string>();
    return rows.map((row) => psReport(row, states));
  },
  render: (answers, out) => {
    if (answers.length === 0) return out.warn('You haven\'t deployed any applications yet');
    for (const answer of answers) {
      const running = answer.processes.filter((p) => p.state === 'running').length;
      const values: Record<string, string> = {
        deployed: String(answer.deployed), release: answer.release === null ? '' : `v${answer.release}`, processes: String(answer.processes.length),
        running: running === answer.processes.length ? String(running > 0) : running === 0 ? 'false' : 'mixed',
      };
      for (const p of answer.processes) values[`status ${p.name.replace('.', ' ')}`] = `${p.state} (CID: ${p.id}, ${p.address})`;
      for (const line of report(`${answer.app} ps information`, values)) out.line(line);
    }
  },
});

export const psCommands = [forget(scale), forget(restart), forget(psReportCommand)];
