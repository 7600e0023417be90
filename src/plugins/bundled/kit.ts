import type { PluginArgument, PluginCommand, PluginHook, PluginManifest } from '../../events/types/plugin.events.js';
import type { CommandAnswer, CommandCall } from '../contract/protocol.js';

/** What all plugins that come with Berth have in common. */
export function manifestOf(name: string, description: string, parts: { readonly commands: readonly PluginCommand[]; readonly hooks?: readonly PluginHook[] }): PluginManifest {
  return { name, version: '1.0.0', description, berth: '*', protocol: 1, needs: [], main: null, events: null, buildpacks: {}, hooks: [], ...parts };
}

export const word = (name: string, about: string, optional = false): PluginArgument => ({ name, about, kind: 'argument', type: 'string', optional });
export const APP = word('app', 'the app');

/** The app that a command is about. */
export function appOf(call: CommandCall): NonNullable<CommandCall['app']> {
  if (!call.app) throw new Error(`${call.command} is about an app`);
  return call.app;
}

/** A word of the command line; empty when it was left out. */
export const given = (call: CommandCall, name: string): string => (typeof call.input[name] === 'string' ? call.input[name] : '');

export const refused = (error: string, hint: string): CommandAnswer => ({ error, hint });

/** As Dokku's reports look; the same as data. */
export function report(heading: string, values: Readonly<Record<string, string>>): CommandAnswer {
  const label = (key: string): string => `${key.charAt(0).toUpperCase()}${key.slice(1)}:`;
  const width = Math.max(31, ...Object.keys(values).map((key) => label(key).length + 1));
  return { say: [`=====> ${heading}`, ...Object.entries(values).map(([key, value]) => `       ${label(key).padEnd(width)}${value}`.trimEnd())], data: values };
}

/** What was remembered as JSON. */
export const remembered = <T>(settings: Readonly<Record<string, string>>, key: string, none: T): T => (settings[key] === undefined ? none : (JSON.parse(settings[key]) as T));
