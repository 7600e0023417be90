import { spawn } from 'node:child_process';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { converse } from './converse.js';
import { watchAncestors } from './ancestors.js';
import { openDoor } from './door.js';
import { leave, readRefusal, refusal, unreachable } from './output.js';
import { GIT_OPEN_PATH, type GitOpenReply, type GitOpenRequest } from './protocol.js';
import { gitCommand, gitProtocol } from './repository.js';
import { split, WordsError } from './words.js';

/** The forced command of every SSH key: `shell.cjs --key <name>`. What the client sent stands in SSH_ORIGINAL_COMMAND and is only ever data. */
const run = process.env['BERTH_RUN'] ?? '/run/berth';
const socketPath = join(run, 'ssh.sock');

function main(): void {
  const [flag, key] = process.argv.slice(2);
  if (flag !== '--key' || !key) return stop('this program is started by sshd: shell.cjs --key <name>');
  const actor = `key:${key}`;
  let words: string[];
  try {
    words = split(process.env['SSH_ORIGINAL_COMMAND'] ?? '');
  } catch (error) {
    if (error instanceof WordsError) return stop(error.message, error.hint);
    throw error;
  }
  if (words.length === 0) return greet(key);
  const git = gitCommand(words);
  if (git === null) {
    // a client that is gone must not leave a following command behind: sshd sends no signal, and a closed stdin may be `< /dev/null`
    watchAncestors(() => { process.exit(129); });
    for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]] as const) process.once(signal, () => { process.exit(code); });
    return converse({ socketPath, argv: words, as: actor, files: false });
  }
  if ('refused' in git) return stop(git.refused, git.hint);
  open({ service: git.service, repo: git.repo, actor }, (reply) => { serve(git.service, reply, actor); });
}

/** Asks the API whether this key may, and where the repository lies; a first push makes the app here. */
function open(request: GitOpenRequest, then: (reply: GitOpenReply) => void): void {
  let status = 0;
  let body = '';
  openDoor(socketPath, GIT_OPEN_PATH, 'application/json', JSON.stringify(request), {
    status: (code) => { status = code; },
    line: (text) => { body += text; },
    fail: (code) => { process.stderr.write(unreachable(socketPath, code)); leave(1); },
    end: () => {
      if (status === 0) return stop('the connection to Berth ended before it answered');
      if (status !== 200) {
        process.stderr.write(readRefusal(status, body));
        return leave(1);
      }
      let reply: GitOpenReply;
      try {
        reply = JSON.parse(body) as GitOpenReply;
      } catch {
        return stop('the connection to Berth ended before it answered');
      }
      then(reply);
    },
  });
}

/** git itself, with the client's stdin and stdout, an environment of our own and our hooks. */
function serve(service: string, reply: GitOpenReply, actor: string): void {
  const protocol = gitProtocol(process.env['GIT_PROTOCOL']);
  const settings = [`core.hooksPath=${join(__dirname, '..', 'deploy', 'git-hooks')}`, `safe.directory=${reply.repo}`, ...reply.config];
  const child = spawn('git', [...settings.flatMap((setting) => ['-c', setting]), service.slice('git-'.length), reply.repo], {
    stdio: 'inherit',
    env: {
      PATH: process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin',
      HOME: process.env['HOME'] ?? '/',
      LANG: 'C.UTF-8',
      BERTH_APP: reply.app,
      BERTH_NAME: reply.name,
      BERTH_ACTOR: actor,
      BERTH_RUN: run,
      ...(protocol !== null && { GIT_PROTOCOL: protocol }),
    },
  });
  child.on('error', (error) => { stop(`git does not start: ${error.message}`, 'install it on the server: apt-get install git'); });
  child.on('exit', (code) => { process.exit(code ?? 128); });
}

function greet(key: string): void {
  const address = `${process.env['USER'] ?? 'berth'}@${hostname()}`;
  process.stdout.write([
    `=====> Hello, ${key}. This is Berth on ${hostname()}; there is no shell here.`,
    '       To push an app:',
    `           git remote add berth ${address}:my-app`,
    '           git push berth main',
    '       To run a command:',
    `           ssh ${address} apps:list`,
    `           ssh ${address} help`,
    '',
  ].join('\n'));
  leave(0);
}

function stop(message: string, hint: string | null = null): void {
  process.stderr.write(refusal(message, hint));
  leave(1);
}

main();
