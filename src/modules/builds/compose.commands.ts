import { IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { COMPOSE_FILES, planCompose } from '../../plugins/builders/compose.js';
import { Arg, command, forget, type CommandContext } from '../commands/command.js';

class ComposeInput {
  @IsString() @Arg('a compose file or the folder it is in, or - for standard input', { label: 'file' }) file!: string;
}

const LIMIT = 1 << 20;

/** The text, and how it is called. */
async function textOf(context: CommandContext, file: string): Promise<{ text: string; name: string }> {
  if (file === '-') return { text: (await context.stdin(LIMIT)).toString('utf8'), name: 'the compose file' };
  const read = async (path: string): Promise<string | null> => (await context.file(path, LIMIT).catch((error: unknown) => {
    if (error instanceof Rejected && error.code === 'input.file' && /no such file|is a directory/.test(error.message)) return null;
    throw error;
  }))?.toString('utf8') ?? null;
  const text = await read(file);
  if (text !== null) return { text, name: file };
  for (const name of COMPOSE_FILES) {
    const found = await read(`${file.replace(/\/+$/, '')}/${name}`);
    if (found !== null) return { text: found, name };
  }
  throw new Rejected('compose.missing', `There is no compose file at ${file}`, `${COMPOSE_FILES.join(', ')} are looked for in a folder; over SSH: … compose:plan - < compose.yaml`);
}

const plan = command({
  name: 'compose:plan', summary: 'Say what of a compose file becomes an app, and what does not; nothing is done', example: 'berth compose:plan ./compose.yaml', input: ComposeInput, http: { method: 'POST', path: '/compose/plan' }, reads: true,
  run: async (context, { file }) => {
    const { text, name } = await textOf(context, file);
    return planCompose(text, name);
  },
  render: ({ build, processTypes, port, services, notes }, out) => {
    out.info(`One app, built from ${build.dockerfile}${build.context === '' ? '' : ` in ${build.context}/`}${build.target === null ? '' : `, stage ${build.target}`}`);
    for (const [type, words] of Object.entries(processTypes)) out.detail(`${type}: ${words ?? '(the image\'s own command)'}${type === 'web' && port !== null ? `, port ${port}` : ''}`);
    if (build.args.length > 0) out.detail(`build arguments from config: ${build.args.join(', ')}`);
    for (const { name, kind, version } of services) out.detail(`service to create: ${name}, ${kind}${version === null ? '' : ` ${version}`}`);
    for (const note of notes) out.warn(note);
  },
});

export const composeCommands = [forget(plan)];
