import { IsOptional, IsString } from 'class-validator';
import { GitRefusal } from '../../drivers/git/git.port.js';
import { Rejected } from '../../events/decider.js';
import { AppInput } from '../apps/apps.commands.js';
import { Arg, command, Flag, type CommandContext, type DeployAnswer } from '../commands/command.js';
import { requireRoom } from '../server/room.js';
import { settleBranch } from './branches.js';
import { deployCommit, sourcesOf } from './deploy-source.js';

class SyncInput extends AppInput {
  @IsOptional() @Flag('build and deploy it') build?: boolean;
  @IsOptional() @Flag('build and deploy it unless it is what is live') buildIfChanges?: boolean;
  @IsOptional() @Flag('do not wait for the end of the deploy') detach?: boolean;
  @IsString() @Arg('the other server\'s repository, by https or ssh', { label: 'remote' }) remote!: string;
  @IsOptional() @IsString() @Arg('a branch, a tag or a full commit id; the remote\'s own branch when there is none', { optional: true, label: 'ref' }) ref?: string;
}

interface Synced extends DeployAnswer { readonly commit: string; readonly ref: string; readonly built: boolean; readonly live: boolean }

/** git's refusal in the words of a command. */
async function told<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof GitRefusal ? new Rejected(`git.${error.problem}`, error.message, error.hint) : error;
  }
}

async function sync(context: CommandContext, { app, remote: url, ref, build, buildIfChanges }: SyncInput): Promise<Synced> {
  const { core, signal } = context;
  const row = await core.app(app);
  const { remotes } = sourcesOf(core);
  // a token in an address would stand in the log for ever
  if (/^[a-z+]+:\/\/[^/]*@/i.test(url) && !/^ssh:\/\/[^/:@]+@/i.test(url)) throw new Rejected('git.url', 'The address has a user or a password in it, and addresses are kept in the log', 'take it out, and: berth git:auth <host> <user>, with the token piped in');
  await requireRoom(core);
  const found = await told(remotes.remoteRef(url, ref ?? null, signal));
  const answer = { app: row.id, name: row.name, commit: found.sha, ref: found.ref };
  const live = row.releases.find((r) => r.number === row.live?.release)?.spec.sha === found.sha;
  if (!build && (!buildIfChanges || live)) {
    const repo = await core.git!.init(row.id);
    if ((await core.git!.resolve(row.id, found.sha)) === null) await told(remotes.fetchCommit(repo, url, found.sha, signal));
    return { ...answer, deploy: null, built: false, live };
  }
  await core.git!.init(row.id);
  await settleBranch(core, row.id);
  const branch = row.branch ?? (ref !== undefined && found.ref !== found.sha && !/^v?\d/.test(ref) ? ref : 'main');
  const deploy = await deployCommit(context, 'git:sync', row, { sha: found.sha, branch, origin: { type: 'remote', url, ref: found.ref } });
  return { ...answer, deploy, built: true, live };
}

export const syncCommand = command({
  name: 'git:sync', summary: 'Fetch an app\'s code from another git server, and deploy it if asked to', example: 'berth git:sync --build blog https://git.example.com/team/blog.git main', input: SyncInput, http: { method: 'POST', path: '/apps/:app/sync' },
  run: sync,
  render: ({ name, commit, ref, built, live }, out) => {
    out.info(`${ref} is ${commit.slice(0, 7)}`);
    if (built) return;
    out.detail(live ? 'which is what is live: nothing is built' : `deploy it: berth deploys:create ${name} ${commit.slice(0, 12)}`);
  },
});
