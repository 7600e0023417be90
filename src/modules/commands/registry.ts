import { Rejected } from '../../events/decider.js';
import { appCommands } from '../apps/apps.commands.js';
import { shown } from '../apps/app.decider.js';
import { gitCommands } from '../apps/git.commands.js';
import { auditCommands } from '../audit/audit.commands.js';
import { backupCommands } from '../backup/backup.commands.js';
import { buildpackCommands } from '../buildpacks/buildpacks.commands.js';
import { configCommands } from '../config/config.commands.js';
import { deployCommands } from '../deploys/deploys.commands.js';
import { jobCommands } from '../deploys/jobs.commands.js';
import { storageCopyCommands } from '../copies/storage-copies.commands.js';
import { doctorCommands } from '../doctor/doctor.commands.js';
import { domainCommands } from '../domains/domains.commands.js';
import { diffCommands } from '../history/diff.commands.js';
import { eventCommands } from '../history/events.commands.js';
import { planCommands } from '../history/plan.commands.js';
import { sourceCommands } from '../sources/sources.commands.js';
import { stackCommands } from '../stack/stack.commands.js';
import { registryCommands } from '../registries/registry.commands.js';
import { stateCommands } from '../history/state.commands.js';
import { undoCommands } from '../history/undo.commands.js';
import { operationCommands } from '../operations/operations.commands.js';
import { pushCommands } from '../hooks/push.commands.js';
import { webhookCommands } from '../hooks/webhook.commands.js';
import { notifyCommands } from '../notifications/notify.commands.js';
import { imageCommands } from '../images/images.commands.js';
import { keyCommands } from '../keys/keys.commands.js';
import { logCommands } from '../logs/logs.commands.js';
import { bundledCommands, isOfPlugin } from '../plugins/foreign.js';
import { pluginCommands } from '../plugins/plugins.commands.js';
import { psCommands } from '../processes/ps.commands.js';
import { projectionCommands } from '../read/projection.commands.js';
import { serviceAliases, serviceCommands, serviceGroups } from '../services/commands.js';
import { serverCommands } from '../server/server.commands.js';
import { storageCommands } from '../storage/storage.commands.js';
import { traceCommands } from '../trace/trace.commands.js';
import { fieldsOf, flagName, usage, type AnyCommand } from './command.js';

/** Every command there is. */
export const COMMANDS: readonly AnyCommand[] = [
  ...appCommands, ...configCommands, ...psCommands, ...gitCommands, ...buildpackCommands, ...sourceCommands, ...deployCommands, ...jobCommands, ...operationCommands, ...traceCommands, ...logCommands, ...domainCommands, ...keyCommands, ...eventCommands, ...stateCommands, ...diffCommands, ...undoCommands, ...planCommands((name) => find(name)), ...auditCommands, ...projectionCommands, ...doctorCommands, ...storageCommands, ...storageCopyCommands, ...backupCommands, ...imageCommands, ...pluginCommands((name) => isOurs(name)), ...bundledCommands, ...webhookCommands, ...notifyCommands, ...pushCommands, ...stackCommands, ...serviceCommands, ...registryCommands, ...serverCommands,
];

/** old or Dokku's other spellings → ours */
const ALIASES: Readonly<Record<string, string>> = { 'plugins-install': 'plugin:install', plugins: 'plugin:list', config: 'config:show', 'deploys:list': 'deploys', 'releases:list': 'releases', 'operations:list': 'operations', '-v': 'version', '--version': 'version', '-h': 'help', '--help': 'help', jobs: 'jobs:list', workers: 'workers', ...serviceAliases };
const ABOUT: Readonly<Record<string, string>> = {
  apps: 'Manage apps', config: 'Manage config vars', ps: 'Manage app processes', git: 'Manage app deploys from git', buildpacks: 'Manage buildpack settings for an app', deploys: 'Look at deploys, follow and cancel them', releases: 'Releases and rollback',
  jobs: 'Failed jobs: look, retry, discard', operations: 'What takes time and is no deploy', trace: 'See what happened in every step of a deploy', logs: 'What apps print', builder: 'How apps are built', ports: 'Which port of an app answers', domains: 'Manage domains', 'ssh-keys': 'Manage SSH keys', tokens: 'Manage tokens of the HTTP API',
  events: 'The event log', state: 'An app as it was', diff: 'Compare releases', undo: 'Take a change back', plan: 'What a command would do', audit: 'Prove that the log is as it was written', projections: 'What is folded from the log', resource: 'Manage limits', plugin: 'Manage plugins', storage: 'Volumes: data that outlives containers', server: 'This server', backup: 'Back up everything', restore: 'Bring a backup back', images: 'Images of an app', webhook: 'Call an address when something happens', notify: 'Tell people when something happens: mail, Slack, ntfy, Telegram, plugins', github: 'Deploy what is pushed to GitHub', gitlab: 'Deploy what is pushed to GitLab', gitea: 'Deploy what is pushed to Gitea', stack: 'What buildpacks stand on', registry: 'Logins for image registries', repo: 'What builds have cached', cleanup: 'Remove what nobody owns', ...serviceGroups,
};

/** Whether Berth itself has a command, an old spelling or a group of that name. */
export const isOurs = (name: string): boolean => byName.has(name) || Object.hasOwn(ALIASES, name) || COMMANDS.some((c) => groupOf(c.name) === name && !isOfPlugin(c));

const byName = new Map(COMMANDS.map((c) => [c.name, c]));
if (byName.size !== COMMANDS.length) throw new Error('two commands have the same name');

const groupOf = (name: string): string => name.split(':')[0]!;

/** Smallest number of one-letter changes from one word to the other. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length]!;
}

const isCalled = (command: AnyCommand, name: string): boolean => command.name === name || (command.others?.includes(name) ?? false);

/** The command of that name, `more` being those of plugins. @throws Rejected with the nearest name */
export function find(name: string, more: readonly AnyCommand[] = []): AnyCommand {
  const found = byName.get(ALIASES[name] ?? name) ?? more.find((c) => isCalled(c, name));
  if (found) return found;
  const near = name.length > 40 ? undefined : [...COMMANDS, ...more].map((c) => ({ name: c.name, far: distance(name, c.name) })).sort((a, b) => a.far - b.far)[0];
  const guess = near && near.far <= 3 ? `did you mean ${near.name}? ` : '';
  throw new Rejected('command.unknown', `\`${shown(name, 40)}\` is not a berth command.`, `${guess}See \`berth help\` for a list of available commands.`);
}

/** `ps` and `ps:help` ask for a group's help, when no command has that name. */
export function groupAskedFor(name: string, more: readonly AnyCommand[] = []): string | null {
  const group = name.endsWith(':help') ? name.slice(0, -5) : byName.has(name) || ALIASES[name] || more.some((c) => isCalled(c, name)) ? null : name;
  return group !== null && [...COMMANDS, ...more].some((c) => groupOf(c.name) === group) ? group : null;
}

const about = (group: string, [first]: readonly AnyCommand[]): string => ABOUT[group] ?? first!.about ?? first!.summary;
/** a group of more commands is one line of the whole help */
const MANY = 20;

function columns(commands: readonly AnyCommand[]): string[] {
  const width = Math.min(46, Math.max(...commands.map((c) => usage(c).length)) + 3);
  return commands.map((c) => {
    const text = usage(c);
    return text.length + 3 > width ? `    ${text}\n    ${' '.repeat(width)}${c.summary}` : `    ${text.padEnd(width)}${c.summary}`;
  });
}

export function helpGroup(group: string, more: readonly AnyCommand[] = []): string[] {
  const commands = [...COMMANDS, ...more].filter((c) => groupOf(c.name) === group);
  return [`Usage: berth ${group}[:COMMAND]`, '', about(group, commands), '', 'Additional commands:', ...columns(commands)];
}

export function helpCommand(command: AnyCommand): string[] {
  const lines = [`Usage: berth ${usage(command)}`, '', command.summary, ''];
  const fields = fieldsOf(command.input);
  if (fields.length > 0) {
    const label = (f: (typeof fields)[number]): string => (f.kind === 'flag' ? `${f.short ? `-${f.short}, ` : ''}--${flagName(f.property)}${f.type === 'boolean' ? '' : ` <${f.label}>`}` : `<${f.label}>`);
    const width = Math.max(...fields.map((f) => label(f).length)) + 3;
    lines.push('Arguments:', ...fields.map((f) => `    ${label(f).padEnd(width)}${f.about}${f.optional && f.kind !== 'flag' ? ' (may be left out)' : ''}`));
  }
  if (command.reads) lines.push('    --format json   (or --json)', '');
  else lines.push('');
  if (command.local) lines.push('Only on the server itself.', '');
  lines.push('Example:', `    ${command.example}`, '', `HTTP: ${command.http.method} /v1${command.http.path}`);
  return lines;
}

export function helpAll(more: readonly AnyCommand[] = []): string[] {
  const all = [...COMMANDS, ...more];
  const groups = [...Map.groupBy(all, (c) => groupOf(c.name))];
  const lines = ['Usage: berth [--quiet|--force|--app <app>] COMMAND <app> [command-specific-options]', ''];
  for (const [, commands] of groups) if (commands.length <= MANY) lines.push(...columns(commands));
  const large = groups.filter(([, commands]) => commands.length > MANY).map(([group, commands]) => [`${group}:<command>`, `${about(group, commands)}: berth help ${group}`] as const);
  const width = Math.max(0, ...large.map(([text]) => text.length)) + 3;
  lines.push(...large.map(([text, what]) => `    ${text.padEnd(width)}${what}`));
  lines.push('', 'berth help <command> explains one command, with an example. Deploy with: git push berth@<server>:<app> main');
  return lines;
}
