import { Rejected } from '../../events/decider.js';
import type { ChannelOption } from '../../events/types/plugin.events.js';
import type { CommandContext } from '../commands/command.js';

const MAX = 2000;
const UNPRINTABLE = /[\u0000-\u001f\u007f]/;

function judged(channel: string, name: string, value: string): string {
  if (value === '' || value.length > MAX || UNPRINTABLE.test(value)) throw new Rejected('notify.option', `${channel}: ${name} is ${value === '' ? 'empty' : value.length > MAX ? `longer than ${MAX} characters` : 'more than one line'}`, 'see: berth notify:channels');
  return value;
}

/** `key=value` words as options. @throws Rejected for a secret, one that there is not, one that is missing */
export function chosen(channel: string, options: readonly ChannelOption[], words: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  const open = options.filter(({ secret }) => !secret);
  for (const word of words) {
    const at = word.indexOf('=');
    const name = at < 0 ? word : word.slice(0, at);
    const option = options.find((each) => each.name === name);
    if (option?.secret) throw new Rejected('notify.secret', `${name} of ${channel} is a secret: on a command line it can be seen by everybody on this machine, and stays in the shell's history`, 'pipe it in with --secret-stdin, or leave it out to be asked');
    // what stands there may be a secret without its name
    if (!option || at < 0) throw new Rejected('notify.option', at < 0 ? 'Options are key=value' : `${channel} has no option '${name.slice(0, 40)}'`, open.length > 0 ? `it has: ${open.map((each) => `${each.name}=…`).join(' ')}` : 'it has none but what is secret: piped in or typed');
    if (Object.hasOwn(found, name)) throw new Rejected('notify.option', `${name} is given twice`);
    found[name] = judged(channel, name, word.slice(at + 1));
  }
  const lacking = open.filter(({ name, optional }) => !optional && !Object.hasOwn(found, name));
  if (lacking.length > 0) throw new Rejected('notify.option', `${channel} wants ${lacking.map(({ name, about }) => `${name} (${about})`).join(', ')}`, `as ${lacking.map(({ name }) => `${name}=…`).join(' ')}`);
  return found;
}

/** Secrets as they were piped in: the one that there is, or lines of `name=value`. Pure. @throws Rejected */
export function secretsIn(channel: string, secrets: readonly ChannelOption[], text: string): Record<string, string> {
  const piped = text.replace(/\r?\n$/, '');
  if (piped === '') return {};
  if (secrets.length === 1) return { [secrets[0]!.name]: judged(channel, secrets[0]!.name, piped) };
  return Object.fromEntries(piped.split(/\r?\n/).filter(Boolean).map((line, i) => {
    const at = line.indexOf('=');
    const name = at < 0 ? '' : line.slice(0, at);
    if (!secrets.some((each) => each.name === name)) throw new Rejected('notify.secret', `Line ${i + 1} of what was piped in names no secret of ${channel}`, `lines of: ${secrets.map((each) => `${each.name}=…`).join(', ')}`);
    return [name, judged(channel, name, line.slice(at + 1))] as const;
  }));
}

/** Secrets piped in, or typed where nobody sees it; never words of the command line. @throws Rejected */
export async function secretsFrom(context: Pick<CommandContext, 'hasStdin' | 'stdin' | 'askSecret'>, channel: string, options: readonly ChannelOption[], given: Readonly<Record<string, string>>, piped: boolean): Promise<Record<string, string>> {
  const secrets = options.filter(({ secret }) => secret);
  const lacking = (found: Readonly<Record<string, string>>): ChannelOption[] => secrets.filter(({ name, optional }) => !optional && !Object.hasOwn(found, name));
  if (piped && secrets.length === 0) throw new Rejected('notify.secret', `${channel} has no secret`, 'leave --secret-stdin out');
  if (piped && !context.hasStdin) throw new Rejected('notify.secret', 'Nothing is piped in', `for example: berth notify:add ops ${channel} --secret-stdin < secret.txt`);
  if (secrets.length === 0) return {};
  const refused = (names: readonly ChannelOption[]): Rejected => new Rejected('notify.secret', `${channel} wants ${names.map(({ name, about }) => `${name} (${about})`).join(', ')}, piped in or typed at a terminal`, `for example: berth notify:add ops ${channel} --secret-stdin < secret.txt`);
  const found: Record<string, string> = context.hasStdin ? secretsIn(channel, secrets, (await context.stdin(16 << 10)).toString('utf8')) : {};
  if (!context.hasStdin) {
    for (const option of secrets) {
      // a password is nobody's without a user
      if (option.optional && option.name === 'password' && given['user'] === undefined) continue;
      const typed = await context.askSecret(`${option.about}${option.optional ? ' (may be left out)' : ''}: `).catch((error: unknown) => {
        if (!(error instanceof Rejected) || !['input.no-terminal', 'input.http'].includes(error.code)) throw error;
        if (!option.optional) throw refused(lacking(found));
        return '';
      });
      if (typed !== '') found[option.name] = judged(channel, option.name, typed);
    }
  }
  if (lacking(found).length > 0) throw refused(lacking(found));
  return found;
}
