import 'reflect-metadata';
import { readFile, stat } from 'node:fs/promises';
import { Rejected } from '../../events/decider.js';
import { verifyCommand } from '../audit/verify.command.js';
import { verifyBackupCommand } from '../backup/verify.command.js';
import { planCommand } from '../buildpacks/plan.command.js';
import { parse, splitGlobal } from '../commands/argv.js';
import { forget, type AnyCommand, type CommandContext, type OfflineContext } from '../commands/command.js';
import { isOurs } from '../commands/registry.js';
import { FrameOut } from '../commands/out.js';
import { testCommand } from '../plugins/test.command.js';
import { validated } from '../commands/validated.js';

/** Commands that need no server: loaded by the command line itself (`dist/offline.mjs`), on any machine. */
const COMMANDS: readonly AnyCommand[] = [forget(verifyCommand), forget(verifyBackupCommand), forget(planCommand), forget(testCommand(isOurs))];

async function piped(limit = 1 << 20): Promise<Buffer> {
  if (process.stdin.isTTY) throw new Rejected('stdin.none', 'Nothing was piped in', 'for example: berth … < file');
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of process.stdin as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > limit) throw new Rejected('stdin.size', `More than ${limit} bytes were piped in`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

async function fileAt(path: string, limit = 1 << 20): Promise<Buffer> {
  try {
    const { size } = await stat(path);
    if (size > limit) throw new Rejected('file.size', `${path} has ${size} bytes, at most ${limit} are read`);
    return await readFile(path);
  } catch (error) {
    throw error instanceof Rejected ? error : new Rejected('file.read', `${path} cannot be read: ${(error as Error).message}`);
  }
}

/** Carries out a command line by itself; answers its exit code, or null when a server has to. */
export async function offline(argv: readonly string[]): Promise<number | null> {
  const { name, rest, global } = splitGlobal(argv);
  const command = COMMANDS.find((each) => each.name === name);
  if (!command || rest.includes('--help') || rest.includes('-h')) return null;
  const stop = new AbortController();
  const out = new FrameOut((channel, content) => (channel === 'e' ? process.stderr : process.stdout).write(content), process.stdout.columns ?? 0, false, global.quiet, false);
  try {
    const parsed = parse(command, rest, global);
    const input = await validated(command, parsed.input);
    if (!command.offline?.(input)) return null;
    const context: OfflineContext = { signal: stop.signal, stdin: piped, file: fileAt };
    const answer = await command.run!(context as CommandContext, input);
    if (!parsed.global.json) return command.render!(answer, out, input) ?? 0;
    out.line(JSON.stringify(answer));
    return command.render!(answer, new FrameOut(() => {}, 0, false, true, false), input) ?? 0;
  } catch (error) {
    if (!(error instanceof Rejected)) throw error;
    out.warn(error.message);
    if (error.hint) out.warn(error.hint);
    return error.exit;
  }
}
