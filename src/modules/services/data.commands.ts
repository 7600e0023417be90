import { Transform } from 'class-transformer';
import { IsArray, IsInt, IsOptional, IsString, Max, Min } from 'class-validator';
import { execOutput } from '../../drivers/engine/exec-output.js';
import { Rejected } from '../../events/decider.js';
import type { ServiceExec, ServiceType } from '../../plugins/services/service-type.js';
import { accessOf } from '../../plugins/services/types.js';
import { Arg, command, Flag, forget, Rest, type AnyCommand, type CommandContext, type StreamItem } from '../commands/command.js';
import { bytes } from '../commands/words.js';
import { change } from '../draft.js';
import { followLog, printLine } from '../logs/logs.commands.js';
import type { NumberedLine } from '../../drivers/logs/log-store.js';
import { operate } from '../operations/operations.service.js';
import { passwordOf } from './link.js';
import { services } from './service.decider.js';
import { newPassword, serviceLog, serviceStream } from './service-names.js';
import { createService, ServiceInput } from './services.commands.js';

class CloneInput extends ServiceInput {
  @IsString() @Arg('the new service', { label: 'new service' }) to!: string;
  @IsOptional() @Flag('do not wait for its end') detach?: boolean;
}
class WordsInput extends ServiceInput {
  @IsOptional() @IsArray() @IsString({ each: true }) @Rest('words for the program', { label: 'words', optional: true, raw: true }) words?: string[];
}
class LogsInput extends ServiceInput {
  @IsOptional() @Flag('go on as lines come', { short: 't' }) tail?: boolean;
  @IsOptional() @Transform(({ value }) => (typeof value === 'string' ? Number(value) : value)) @IsInt({ message: 'num: how many lines, a whole number' }) @Min(0) @Max(1_000_000) @Flag('how many lines (100)', { type: 'number', short: 'n', label: 'n' }) num?: number;
}

/** the best shell that the image has */
const SHELL = ['/bin/sh', '-c', 'if command -v bash > /dev/null; then exec bash; fi; exec sh'];
/** The commands of one type that reach into its containers. */
export function dataCommands(type: ServiceType): AnyCommand[] {
  const t = type.type;
  const http = (path: string): string => `/services/${t}${path}`;

  /** Where a program can be run. @param whole whether it must be the same container to its end. @throws Rejected when the service does not run, or something else is at it */
  const open = async ({ core }: CommandContext, service: string, whole = true) => {
    const row = await core.service(t, service);
    if (row.container === null || row.wanted !== 'running') throw new Rejected('service.stopped', `${type.title} service ${service} does not run`, row.container === null && row.wanted === 'running' ? `see: berth operations ${t}:${service}` : `start it: berth ${t}:start ${service}`);
    const busy = whole ? ((await core.works.now()).groups[row.id]?.running ?? null) : null;
    if (busy !== null) throw new Rejected('service.busy', `Operation ${busy} of ${t} service ${service} is running`, `wait for it: berth operations:follow ${t}:${service}`);
    if (!core.exec) throw new Rejected('service.no-engine', 'This process has no engine at hand');
    return { row, container: row.container.id, exec: core.exec, access: accessOf(type, service, await passwordOf(core, row.secrets), row.turn) };
  };

  /** A program's output, piece by piece; its words of error and its exit code last. @param what what fails when it does not end with 0, and must not be cut off; empty: a person looks */
  async function* output(context: CommandContext, service: string, program: (access: ReturnType<typeof accessOf>) => ServiceExec, what: string): AsyncGenerator<StreamItem> {
    const { container, exec, access } = await open(context, service, what !== '');
    const { stdin, ...wanted } = program(access);
    const given = stdin === undefined ? context.hasStdin ? context.input() : undefined : (async function* () { yield Buffer.from(stdin); })();
    const run = execOutput({ exec }, container, wanted, { ...(given ? { stdin: given } : context.terminal && { terminal: context.terminal }), signal: context.signal });
    let n = 0;
    for await (const piece of run.output) yield { id: String(++n), event: 'data', data: piece };
    const { exitCode, stderr } = await run.ended;
    if (exitCode !== 0 && what !== '') throw new Rejected('service.exec', `${what} ended with ${exitCode}: ${stderr.trim() || 'it said nothing'}`, `see: berth ${t}:logs ${service}`);
    yield { id: 'end', event: 'end', data: { exitCode, stderr } };
  }
  const renderItem = (item: StreamItem, out: Parameters<NonNullable<AnyCommand['renderItem']>>[1]): number | undefined => {
    if (item.event === 'data') {
      out.bytes(item.data as Buffer);
      return undefined;
    }
    const { exitCode, stderr } = item.data as { exitCode: number; stderr: string };
    for (const line of stderr.trimEnd().split('\n')) if (line !== '') out.warn(line);
    return exitCode;
  };

  const client = type.connect(accessOf(type, 'x', ''), []).argv[0]!;
  const connect = command({
    name: `${t}:connect`, summary: `Run ${client} in a ${type.title} service: at your terminal, on what is piped in, or with the words that are given`, example: `berth ${t}:connect blog`, input: WordsInput, http: { method: 'POST', path: http('/:service/connect') }, piped: 'what the program reads',
    async *stream(context, { service, words }) {
      if (!context.terminal && !context.hasStdin && !words?.length) throw new Rejected('service.interactive', `There is neither a terminal nor anything piped in for ${client}`, `over SSH: ssh -t … ${t}:connect ${service}; or: echo … | berth ${t}:connect ${service}`);
      yield* output(context, service, (access) => type.connect(access, words ?? []), '');
    },
    renderItem,
  });
  const enter = command({
    name: `${t}:enter`, summary: `Run a program, or a shell, in the container of a ${type.title} service`, example: `berth ${t}:enter blog ls -l /`, input: WordsInput, http: { method: 'POST', path: http('/:service/enter') }, piped: 'what the program reads',
    async *stream(context, { service, words }) {
      if (!context.terminal && !words?.length) throw new Rejected('service.interactive', 'There is no terminal for a shell', `over SSH: ssh -t … ${t}:enter ${service}; or name a program: berth ${t}:enter ${service} ls -l`);
      yield* output(context, service, () => ({ argv: words?.length ? words : SHELL }), '');
    },
    renderItem,
  });

  const logs = command({
    name: `${t}:logs`, summary: `Show what a ${type.title} service prints; -t follows`, example: `berth ${t}:logs blog -t`, input: LogsInput, http: { method: 'GET', path: http('/:service/logs') }, reads: true,
    async *stream({ core, signal }, { service, tail, num }) {
      yield* followLog(core, serviceLog((await core.service(t, service)).id), { tail: tail ?? false, num: num ?? 100, wanted: () => true }, signal);
    },
    renderItem: (item, out) => printLine(item.data as NumberedLine, out, t),
  });
  if (type.dumps === null) {
    const refused = (['export', 'import', 'clone'] as const).map((verb) => command({
      name: `${t}:${verb}`, summary: `Not for ${type.title}: say why`, example: `berth ${t}:${verb} blog`, input: WordsInput, http: { method: 'POST', path: http(`/:service/${verb}`) },
      run: (): Promise<{ service: string }> => Promise.reject(new Rejected('service.no-dumps', `There is no ${verb} for ${type.title}: ${type.noDumps ?? 'it has no dumps'}`)),
      render: ({ service }, out) => out.line(service),
    }));
    return [forget(connect), forget(enter), forget(logs), ...refused.map((each) => forget(each))];
  }
  const { dumps } = type;

  const dump = command({
    name: `${t}:export`, summary: `Write the data of a ${type.title} service to standard output, as ${dumps.out(accessOf(type, 'x', '')).argv[0]} does`, example: `berth ${t}:export blog > blog.${dumps.suffix}`, input: ServiceInput, http: { method: 'GET', path: http('/:service/export') }, reads: true,
    stream: (context, { service }) => output({ ...context, hasStdin: false }, service, dumps.out, dumps.out(accessOf(type, service, '')).argv[0]!),
    renderItem: (item, out) => (item.event === 'data' ? renderItem(item, out) : undefined),
  });

  const restore = command({
    name: `${t}:import`, summary: `Bring what ${t}:export wrote into a ${type.title} service; when that fails, the old data is still there`, example: `berth ${t}:import blog < blog.${dumps.suffix}`, input: ServiceInput, http: { method: 'POST', path: http('/:service/import') }, piped: `what ${t}:export wrote`,
    run: async (context, { service }) => {
      const { row, container, exec, access } = await open(context, service);
      const pieces = context.input()[Symbol.asyncIterator]();
      const head: Buffer[] = [];
      // enough to tell what it is
      for (let size = 0; size < 16;) {
        const next = await pieces.next();
        if (next.done) break;
        head.push(next.value);
        size += next.value.length;
      }
      const first = Buffer.concat(head);
      const refused = first.length === 0 ? 'nothing came' : dumps.refuse(first);
      if (refused !== null) throw new Rejected('service.dump', `This is no dump of ${type.title}: ${refused}`, `for example: berth ${t}:export ${service} > file; berth ${t}:import ${service} < file`);
      let read = 0;
      const all = async function* (): AsyncGenerator<Buffer> {
        read += first.length;
        yield first;
        for (let next = await pieces.next(); !next.done; next = await pieces.next()) {
          read += next.value.length;
          yield next.value;
        }
      };
      const { stdin: _, ...program } = dumps.in(access);
      const { exitCode, stderr } = await exec(container, program, { stdin: all(), signal: context.signal });
      if (exitCode !== 0) throw new Rejected('service.import', `${program.argv[0]} ended with ${exitCode}: ${stderr.trim() || 'it said nothing'}`, 'the data of before is still there');
      await change(context, `${t}:import`, row.id, (draft) => draft.decide(services, serviceStream(row.id), { type: 'Imported', bytes: read }));
      return { service, bytes: read };
    },
    render: (answer, out) => out.info(`Imported ${bytes(answer.bytes)} into ${answer.service}`),
  });

  const clone = command({
    name: `${t}:clone`, summary: `Make a new ${type.title} service with another one's data`, example: `berth ${t}:clone blog blog-test`, input: CloneInput, http: { method: 'POST', path: http('/:service/clone') },
    run: async (context, { service, to }) => {
      const { row } = await open(context, service);
      const wish = { name: to, image: row.image, settings: { ...row.settings }, password: newPassword() };
      const answer = await createService(context, `${t}:clone`, type, wish, (draft, id) => operate(draft, id, { kind: 'service-clone', subject: `${t} ${to}`, input: { service: id, from: row.id }, by: context.actor }));
      return { ...answer, service, to };
    },
    render: ({ service, to }, out) => out.info(`Cloning ${service} to ${to}`),
  });

  return [forget(connect), forget(enter), forget(logs), forget(dump), forget(restore), forget(clone)];
}
