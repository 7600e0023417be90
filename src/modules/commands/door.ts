import { Rejected } from '../../events/decider.js';
import type { Core } from '../core.js';
import { deployLog, followDeploy } from '../deploys/follow.js';
import { followOperation, operationLog, printOperation } from '../operations/follow.js';
import { DeployPrinter } from '../deploys/deploy-output.js';
import { checkSize, parse, splitGlobal, type GlobalFlags } from './argv.js';
import { plainItem, type AnyCommand, type CommandContext, type DeployAnswer, type OperationAnswer, type Terminal } from './command.js';
import { asleep, foreignCommands } from '../plugins/foreign.js';
import { explain } from './explain.js';
import { FrameOut } from './out.js';
import { validated } from './validated.js';
import { find, groupAskedFor, helpAll, helpCommand, helpGroup } from './registry.js';

export { explain, validated };

/** One caller's side of the command line door. */
export interface Caller {
  readonly argv: readonly string[];
  readonly origin: 'local' | 'ssh';
  readonly actor: string;
  readonly columns: number;
  readonly color: boolean;
  readonly hasStdin: boolean;
  readonly terminal?: Terminal;
  readonly signal: AbortSignal;
  /** bytes are for standard output */
  write(channel: 'o' | 'e', content: string | Buffer): void;
  /** resolves when the caller has taken what was written */
  drained(): Promise<void>;
  read(what: { need: 'stdin' } | { need: 'file'; path: string }, limit: number): Promise<Buffer>;
  /** what is piped in, as it comes */
  pieces(): AsyncIterable<Buffer>;
  /** @param hidden what is typed is not shown */
  answer(prompt: string, hidden: boolean): Promise<string>;
}

/** The command line's door: one grammar for the local shell and for SSH. */
export class CliDoor {
  constructor(private readonly core: Core, private readonly report: (message: string, error: unknown) => void) {}

  /** Runs one command line to its end; answers the exit code. Never throws. */
  async run(caller: Caller): Promise<number> {
    const plain = new FrameOut((channel, content) => caller.write(channel, content), caller.columns, caller.color, false, false);
    try {
      return await this.carryOut(caller);
    } catch (error) {
      const { message, hint, exit, ours } = explain(error);
      if (ours) this.report(`berth ${caller.argv[0] ?? ''}`, error);
      plain.warn(message);
      if (hint) plain.warn(hint);
      return exit;
    }
  }

  private async carryOut(caller: Caller): Promise<number> {
    checkSize(caller.argv);
    const { name, rest, global } = splitGlobal(caller.argv);
    const { trace } = (await this.core.board.now()).server;
    const plain = new FrameOut((channel, content) => caller.write(channel, content), caller.columns, caller.color, false, trace);
    const help = (lines: readonly string[]): number => {
      for (const line of lines) plain.line(line);
      return 0;
    };
    const more = await foreignCommands(this.core);
    if (name === null) return help(helpAll(more));
    const group = groupAskedFor(name, more);
    if (group !== null) return help(helpGroup(group, more));
    const command = await this.found(name, more);
    if (command.name === 'help') {
      const topic = rest.find((word) => !word.startsWith('-'));
      if (topic === undefined) return help(helpAll(more));
      const asked = groupAskedFor(topic, more);
      return help(asked !== null ? helpGroup(asked, more) : helpCommand(await this.found(topic, more)));
    }
    const parsed = parse(command, rest, global);
    if (parsed.global.help) return help(helpCommand(command));
    if (command.local && caller.origin !== 'local') throw new Rejected('command.local', `${command.name} can only be run on the server itself`, `as root: berth ${command.name} …`);
    const input = await validated(command, parsed.input);
    const out = new FrameOut((channel, content) => caller.write(channel, content), caller.columns, caller.color, parsed.global.quiet, trace);
    return this.execute(command, input, caller, parsed.global, out);
  }

  /** @throws Rejected also when a plugin that is disabled would have it */
  private async found(name: string, more: readonly AnyCommand[]): Promise<AnyCommand> {
    try {
      return find(name, more);
    } catch (error) {
      throw (await asleep(this.core, name.split(':')[0]!)) ?? error;
    }
  }

  private async execute(command: AnyCommand, input: object, caller: Caller, global: GlobalFlags, out: FrameOut): Promise<number> {
    const context = this.contextOf(caller, global, out);
    if (command.stream) {
      let exit = 0;
      for await (const item of command.stream(context, input)) {
        if (global.json) out.line(JSON.stringify(plainItem(item)));
        else exit = command.renderItem!(item, out, input) ?? exit;
        await caller.drained();
      }
      return exit;
    }
    const answer = await command.run!(context, input);
    if (global.json) {
      out.line(JSON.stringify(answer));
      // its exit code is the same in words and in JSON
      return command.render?.(answer, new FrameOut(() => {}, caller.columns, false, true, false), input) ?? 0;
    }
    const exit = command.render?.(answer, out, input) ?? 0;
    const follow = (answer ?? {}) as Partial<DeployAnswer & OperationAnswer>;
    if ((input as { detach?: boolean }).detach) return exit;
    let code = exit;
    if (typeof follow.operation === 'number' && typeof follow.group === 'string') code = await this.followOperation(follow.group, follow.operation, caller, out, command.name === 'jobs:retry');
    else if (typeof follow.deploy === 'number' && typeof follow.name === 'string') code = await this.followDeploy(follow.app!, follow.deploy, caller, out, command.name === 'jobs:retry');
    else return exit;
    if (code === 0) await command.finish?.(context, answer, out, input);
    return code;
  }

  /** @param newOnly not what was printed before */
  private async followDeploy(app: string, deploy: number, caller: Caller, out: FrameOut, newOnly = false): Promise<number> {
    const printer = new DeployPrinter(out, out.verbose);
    const after = newOnly ? await this.core.logs.last(deployLog(app, deploy)) : 0;
    for await (const item of followDeploy(this.core, app, deploy, after, caller.signal)) {
      // a change that a newer deploy takes along is done when that one is
      if (item.event === 'end' && item.data.status === 'superseded' && item.data.endedBy) {
        out.info(`Deploy ${item.data.endedBy} takes this change along`);
        return 0;
      }
      const code = printer.print(item);
      await caller.drained();
      if (code !== undefined) return code;
    }
    return 130;
  }

  /** An operation, and the deploys that it asks for when it ends well. */
  private async followOperation(group: string, operation: number, caller: Caller, out: FrameOut, newOnly: boolean): Promise<number> {
    const after = newOnly ? await this.core.logs.last(operationLog(group, operation)) : 0;
    for await (const item of followOperation(this.core, group, operation, after, caller.signal)) {
      const code = printOperation(item, out);
      await caller.drained();
      if (code === undefined) continue;
      if (code !== 0 || item.event !== 'end') return code;
      for (const { app, deploy } of item.data.deploys) {
        const failed = await this.followDeploy(app, deploy, caller, out);
        if (failed !== 0) return failed;
      }
      return 0;
    }
    return 130;
  }

  private contextOf(caller: Caller, global: GlobalFlags, out: FrameOut): CommandContext {
    const { core } = this;
    const piped = (): void => {
      if (!caller.hasStdin) throw new Rejected('stdin.none', 'Nothing was piped in', 'for example: berth … < file');
    };
    return {
      core, actor: caller.actor, origin: caller.origin, signal: caller.signal, json: global.json, force: global.force, hasStdin: caller.hasStdin, ...(caller.terminal && !global.json && { terminal: caller.terminal }),
      stdin: async (limit = 1 << 20) => {
        piped();
        return caller.read({ need: 'stdin' }, limit);
      },
      input: () => {
        piped();
        return caller.pieces();
      },
      file: (path, limit = 1 << 20) => caller.read({ need: 'file', path }, limit),
      ask: async (prompt, lines) => {
        for (const line of lines) out.warn(line);
        return caller.answer(prompt, false);
      },
      askSecret: (prompt) => caller.answer(prompt, true),
    };
  }
}
