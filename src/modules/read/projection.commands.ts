import { command, forget } from '../commands/command.js';
import { seconds, table } from '../commands/words.js';

class NoInput {}

const rebuild = command({
  name: 'projections:rebuild', summary: 'Fold the board anew from the log while it serves, and say whether it is the same; exit 1 when not', example: 'berth projections:rebuild', input: NoInput, http: { method: 'POST', path: '/projections/rebuild' }, reads: true, local: true,
  run: async ({ core }) => {
    const started = performance.now();
    const rebuilt = await core.board.rebuild();
    return { projection: 'board', tookMs: Math.round(performance.now() - started), ...rebuilt };
  },
  render: ({ projection, version, position, tookMs, hash, identical, differences }, out) => {
    out.info(`Rebuilt ${projection} version ${version} from ${position} events in ${seconds(tookMs)}`);
    out.detail(`hash ${hash}`);
    if (identical !== false) {
      out.detail('identical to what was served');
      return 0;
    }
    out.warn('What was served was another one; the rebuilt one serves now. The first differences:');
    for (const line of table(['WHERE', 'SERVED', 'REBUILT'], differences.map((d) => [d.path, d.was, d.is]))) out.line(`       ${line}`);
    return 1;
  },
});

export const projectionCommands = [forget(rebuild)];
