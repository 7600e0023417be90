import { IsOptional, IsString } from 'class-validator';
import { Arg, command, Flag, forget } from '../commands/command.js';
import { bytes, seconds, table } from '../commands/words.js';
import { VERSION } from '../../version.js';

class NoInput {}
class HelpInput {
  @IsOptional() @IsString() @Arg('a command or a group of commands', { optional: true, label: 'command' }) command?: string;
  @IsOptional() @Flag('list every command') all?: boolean;
}

const version = command({
  name: 'version', summary: 'Print the version', example: 'berth version', input: NoInput, http: { method: 'GET', path: '/version' }, reads: true,
  run: async () => ({ name: 'berth', version: VERSION, node: process.version }),
  render: ({ version: v }, out) => out.line(`berth version ${v}`),
});

const workers = command({
  name: 'workers', summary: 'List the worker processes and what they are doing', example: 'berth workers', input: NoInput, http: { method: 'GET', path: '/workers' }, reads: true,
  run: async ({ core }) => ({ now: core.now(), workers: (await core.workers?.()) ?? [] }),
  render: ({ now, workers: all }, out) => {
    if (all.length === 0) {
      out.warn('No worker has shown itself in the last seconds');
      out.warn('see whether they run: systemctl status \'berth-*\', or sv status /etc/berth/sv/*');
      return 1;
    }
    for (const line of table(['NAME', 'KIND', 'VERSION', 'PID', 'HOST', 'UP', 'DONE', 'MEMORY', 'DOING'], all.map((w) => [
      w.name, w.kind, w.version ?? '?', String(w.pid), w.host, seconds(now - w.since), String(w.done), bytes(w.memory), w.doing.map((d) => `${d.job} for ${seconds(now - d.since)}`).join(', ') || 'idle',
    ]))) out.line(line);
    return 0;
  },
});

/** Answered by the door itself, which knows every command; declared here so that it is listed like the others. */
const help = command({
  name: 'help', summary: 'List the commands, or explain one', example: 'berth help ps:scale', input: HelpInput, http: { method: 'GET', path: '/help' },
});

export const serverCommands = [forget(version), forget(workers), forget(help)];
