import { dirname, join } from 'node:path';
import { PluginFault, type PluginPrograms } from '../../drivers/plugin/plugin.port.js';
import type { ChannelOption, PluginManifest, PluginSubscription } from '../../events/types/plugin.events.js';
import { answer } from '../../plugins/contract/define.js';
import { TIMEOUTS } from '../../plugins/contract/manifest.js';
import { BadAnswer, readAnswer, type Answers, type PluginCall } from '../../plugins/contract/protocol.js';
import type { Plugin } from './active.js';

/** what runs a TypeScript plugin: beside the process's own program */
const HOST = join(dirname(process.argv[1] ?? ''), 'plugin-host.cjs');
/** where it went wrong; what went wrong stands above it */
const STACK = /^\s+at \S|^\s*[{}]|^Node\.js v\d/;
/** longer values come by standard input only */
const ENV_MAX = 4096;

interface Asking { readonly programs: PluginPrograms; readonly signal: AbortSignal; onLine(line: string): void; /** where the host of TypeScript plugins is; tests */ readonly host?: string }
export interface Asked<K extends keyof Answers> { readonly answer: Answers[K]; readonly exit: number }

/** The same in words that a shell script can read. */
export function environmentOf(call: PluginCall, options: readonly ChannelOption[] = []): Record<string, string> {
  const env: Record<string, string> = { BERTH_PROTOCOL: '1', BERTH_CALL: call.call, BERTH_PLUGIN: call.plugin.name, BERTH_PLUGIN_DATA: call.plugin.data };
  if (call.app) Object.assign(env, { BERTH_APP: call.app.name, BERTH_APP_ID: call.app.id });
  if (call.call === 'hook') Object.assign(env, { BERTH_STEP: call.hook.step, BERTH_WHEN: call.hook.when, BERTH_DEPLOY: String(call.deploy) });
  if (call.call === 'builder') env['BERTH_BUILDER'] = call.builder;
  if (call.call === 'project') env['BERTH_PROJECTION'] = call.projection;
  if (call.call === 'event') Object.assign(env, { BERTH_EVENT: call.event.type, BERTH_EVENT_ID: call.event.id });
  if (call.call === 'notify') {
    const { channel, message: { title, text, level, url = '' }, event, id } = call;
    Object.assign(env, { BERTH_CHANNEL: channel.name, BERTH_TITLE: title, BERTH_TEXT: text, BERTH_LEVEL: level, BERTH_URL: url, BERTH_MESSAGE_ID: id, BERTH_EVENT: event?.type ?? '', BERTH_EVENT_ID: event?.id ?? '' });
    // what is secret comes by standard input only
    for (const { name, secret } of options) if (!secret && channel.options[name] !== undefined) env[`BERTH_OPTION_${name.replaceAll('-', '_').toUpperCase()}`] = channel.options[name];
  }
  if (call.call === 'command') {
    env['BERTH_COMMAND'] = call.command;
    for (const [name, value] of Object.entries(call.input)) {
      const text = Array.isArray(value) ? value.join(' ') : String(value);
      if (text.length <= ENV_MAX && !text.includes('\0')) env[`BERTH_INPUT_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`] = text;
    }
  }
  return env;
}

function partOf(manifest: PluginManifest, call: PluginCall): Pick<PluginSubscription, 'run' | 'timeout'> & { readonly output?: 'json' | 'text'; readonly options?: readonly ChannelOption[] } {
  const part = call.call === 'command' ? manifest.commands.find(({ name }) => name === call.command)
    : call.call === 'hook' ? manifest.hooks.find(({ step, when }) => step === call.hook.step && when === call.hook.when)
    : call.call === 'project' ? manifest.projections?.find(({ name }) => name === call.projection)
    : call.call === 'notify' ? manifest.channels?.find(({ name }) => name === call.channel.name)
    : call.call === 'builder' ? manifest.builders?.find(({ name }) => name === call.builder)
    : manifest.events;
  if (!part) throw new Error(`${manifest.name} has nothing for this call`);
  return part;
}

/**
 * Asks a plugin one thing.
 * @throws PluginFault for whatever is wrong with the plugin; the signal's reason when that is aborted
 */
export async function ask<K extends PluginCall['call']>(plugin: Plugin, call: Extract<PluginCall, { call: K }>, { programs, signal, onLine, host = HOST }: Asking): Promise<Asked<K>> {
  const part = partOf(plugin.manifest, call);
  const timeoutMs = (part.timeout ?? TIMEOUTS[call.call].usual) * 1000;
  const judged = (value: unknown): Answers[K] => {
    try {
      return readAnswer(call.call as K, value);
    } catch (error) {
      throw error instanceof BadAnswer ? new PluginFault('answer', `its answer is not what the protocol says: ${error.message}`) : error;
    }
  };
  if (plugin.handlers !== null) return { answer: judged(await withinTime(answer(plugin.handlers, call), timeoutMs, signal)), exit: 0 };
  const main = plugin.manifest.main === null ? null : join(plugin.code!, plugin.manifest.main);
  const argv = part.run ?? [process.execPath, host, main!];
  let last = '';
  const { code, stdout } = await programs.run({
    argv, code: plugin.code!, data: plugin.data, uid: plugin.uid, timeoutMs, signal, input: JSON.stringify(call), env: environmentOf(call, part.options), ...(call.call === 'project' && { low: true }),
    onLine: (line) => { if (line.trim() !== '' && !STACK.test(line)) last = line; onLine(line); },
  });
  if (part.output === 'text') return { answer: judged({ say: stdout === '' ? [] : stdout.replace(/\n$/, '').split('\n') }), exit: code };
  if (code !== 0) throw new PluginFault('exit', `it ended with exit code ${code}${last === '' ? '' : `: ${last.trim().slice(0, 300)}`}`);
  if (stdout.trim() === '') return { answer: judged({}), exit: 0 };
  let value: unknown;
  try {
    value = JSON.parse(stdout);
  } catch {
    throw new PluginFault('answer', `what it printed is not JSON: ${JSON.stringify(stdout.trim().slice(0, 120))}`);
  }
  return { answer: judged(value), exit: 0 };
}

/** One of Berth's own cannot be killed; it is not waited for any longer. */
async function withinTime<T>(work: Promise<T>, ms: number, signal: AbortSignal): Promise<T> {
  const over = new AbortController();
  try {
    return await Promise.race([work, new Promise<never>((_, reject) => {
      const timer = setTimeout(() => reject(new PluginFault('timeout', `it did not answer within ${ms / 1000} s`)), ms);
      over.signal.addEventListener('abort', () => clearTimeout(timer));
      signal.addEventListener('abort', () => reject(signal.reason as Error), { signal: over.signal });
    })]);
  } catch (error) {
    if (error instanceof PluginFault || signal.aborted) throw error;
    throw new PluginFault('exit', (error as Error).message);
  } finally {
    over.abort();
  }
}

/** Loads the module of a TypeScript plugin as it will be loaded. @throws PluginFault when it cannot, or has not got what the manifest declares */
export async function loadMain(plugin: Plugin, { programs, signal, onLine, host = HOST }: Asking): Promise<void> {
  if (plugin.manifest.main === null || plugin.code === null) return;
  const said: string[] = [];
  const { code, stdout } = await programs.run({
    argv: [process.execPath, host, join(plugin.code, plugin.manifest.main)], code: plugin.code, data: plugin.data, uid: plugin.uid, timeoutMs: TIMEOUTS.event.usual * 1000, signal,
    input: JSON.stringify({ call: 'describe', manifest: plugin.manifest }), env: {}, onLine: (line) => { said.push(line); onLine(line); },
  });
  if (code !== 0) throw new PluginFault('exit', `${plugin.manifest.main} cannot be loaded: ${(said.find((line) => /Error/.test(line)) ?? said.at(-1) ?? `exit code ${code}`).trim().slice(0, 300)}`);
  const { missing } = JSON.parse(stdout) as { missing: string[] };
  if (missing.length > 0) throw new PluginFault('answer', `${plugin.manifest.main} has no ${missing.join(', ')}, which the manifest declares`);
}
