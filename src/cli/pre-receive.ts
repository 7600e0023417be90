import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { openDoor } from './door.js';
import { leave, readRefusal, refusal } from './output.js';
import { decode, GIT_PUSH_PATH, type GitPushRequest, type RefUpdate } from './protocol.js';

/** How long the API may be away (a restart, an upgrade) before the push is refused. */
const PATIENCE_MS = Number(process.env['BERTH_HOOK_PATIENCE_MS'] ?? 60_000);
const PAUSE_MS = 300;
/** Statuses of an API that is starting or stopping. */
const NOT_NOW = new Set([502, 503, 504]);

/** git's pre-receive hook: hands the pushed commits to the API, prints what comes back, and its exit code decides whether the refs move. */
function main(): void {
  // the pusher may be gone: the deploy goes on, and so do we, because our end takes the pushed objects away
  process.stdout.on('error', () => {});
  process.stderr.on('error', () => {});
  process.on('SIGHUP', () => {});
  const { BERTH_APP: app, BERTH_NAME: name, BERTH_ACTOR: actor, GIT_QUARANTINE_PATH: quarantine } = process.env;
  if (!app || !name || !actor) return stop('this repository takes pushes only through Berth', 'git push berth@<server>:<app>');
  const updates = readUpdates(readFileSync(0, 'utf8'));
  if (updates.length === 0) return leave(0);
  const push = readFileSync('/proc/sys/kernel/random/uuid', 'utf8').trim();
  follow({ app, name, updates, quarantine: quarantine ? resolve(quarantine) : null, actor, push, after: 0 });
}

function readUpdates(text: string): RefUpdate[] {
  return text.split('\n').flatMap((line) => {
    const [old, next, ...ref] = line.split(' ');
    return old && next && ref.length > 0 ? [{ old, new: next, ref: ref.join(' ') }] : [];
  });
}

function follow(request: Omit<GitPushRequest, 'after' | 'gone'> & { after: number; gone?: number }): void {
  const socketPath = join(process.env['BERTH_RUN'] ?? '/run/berth', 'ssh.sock');
  let lastHeard = Date.now();
  let told = false;
  let exit: number | null = null;
  let written = 0;
  // told to the API, so that the same push again can go on where this one was cut off
  const cut = (): void => {
    if (request.gone !== undefined) return;
    request.gone = written;
    attempt();
  };
  process.stdout.on('error', cut);
  process.stderr.on('error', cut);
  const again = (): void => {
    const away = Date.now() - lastHeard;
    if (away >= PATIENCE_MS) return stop("Berth's API went away and did not come back", `the deploy may still be running: berth deploys:follow ${request.name}, or push again`);
    if (away > 2000 && !told) {
      told = true;
      process.stderr.write(refusal("Berth's API is away; waiting for it to come back"));
    }
    setTimeout(attempt, PAUSE_MS);
  };
  const attempt = (): void => {
    let status = 0;
    let body = '';
    const gone = request.gone;
    openDoor(socketPath, GIT_PUSH_PATH, 'application/json', JSON.stringify(request), {
      status: (code) => { status = code; },
      line: (text) => {
        if (status !== 200) {
          body += text;
          return;
        }
        lastHeard = Date.now();
        told = false;
        const frame = decode(text);
        if (frame === null || gone !== request.gone) return; // a connection from before the pusher left
        if ('exit' in frame) exit = frame.exit & 255;
        else if ('note' in frame) process.stderr.write(frame.note);
        else if ('o' in frame || 'e' in frame) {
          request.after += 1;
          if (gone !== undefined) return;
          const count = request.after;
          const done = (error?: Error | null): void => { if (!error) written = count; };
          if ('o' in frame) process.stdout.write(frame.o, done);
          else process.stderr.write(frame.e, done);
        }
      },
      end: () => {
        if (gone !== request.gone) return;
        if (exit !== null) return leave(exit);
        if (status === 200) lastHeard = Date.now();
        if (status === 0 || status === 200 || NOT_NOW.has(status)) return again();
        process.stderr.write(readRefusal(status, body));
        leave(1);
      },
      fail: () => { if (gone === request.gone) again(); },
    });
  };
  attempt();
}

function stop(message: string, hint: string): void {
  process.stderr.write(refusal(message, hint));
  leave(1);
}

main();
