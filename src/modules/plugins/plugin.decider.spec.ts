import { describe, expect, it } from 'vitest';
import { fold } from '../../events/decider.js';
import type { PluginCode } from '../../events/types/plugin.events.js';
import { plugins, pluginSettings, type PluginsCommand, type PluginsState, type SettingsCommand } from './plugin.decider.js';

const code = (pin: string): PluginCode => ({ version: '1.0.0', pin, source: { type: 'folder', path: '/x' }, folder: `hello-${pin}`, manifest: { name: 'hello' } as PluginCode['manifest'] });
const bundled = ['maintenance'];
function life(...commands: PluginsCommand[]): { state: PluginsState; events: string[] } {
  return commands.reduce<{ state: PluginsState; events: string[] }>(({ state, events }, command) => {
    const decided = plugins.decide(command, state);
    return { state: fold(plugins, decided, state), events: [...events, ...decided.map(({ type }) => type)] };
  }, { state: plugins.initial, events: [] });
}
const install = (plugin: string, pin = 'a'): PluginsCommand => ({ type: 'Install', plugin, code: code(pin), bundled });

describe('plugins', () => {
  it('each have a user of their own, which they find again', () => {
    const { state } = life(install('a'), install('b'), { type: 'Uninstall', plugin: 'a', bundled }, install('c'), install('a'));
    const uids = Object.fromEntries(Object.values(state.installed).map(({ name, uid }) => [name, uid]));
    expect(new Set(Object.values(uids)).size).toBe(3);
    expect(uids['a']).toBe(60_600);
  });

  it('are installed once; the same again is nothing, another is an update', () => {
    expect(life(install('hello'), install('hello')).events).toEqual(['PluginInstalled']);
    expect(() => life(install('hello'), install('hello', 'b'))).toThrow('hello 1.0.0 is installed already');
    expect(life(install('hello'), { type: 'Update', plugin: 'hello', code: code('b'), bundled }, { type: 'Update', plugin: 'hello', code: code('b'), bundled }).events).toEqual(['PluginInstalled', 'PluginUpdated']);
  });

  it('have commands that begin alike with nobody else\'s', () => {
    const bringing = (plugin: string, type: string, aliases: string[] = []): PluginsCommand => ({ type: 'Install', plugin, code: { ...code('a'), manifest: { name: plugin, services: [{ type, aliases }] } as unknown as PluginCode['manifest'] }, bundled });
    expect(life(bringing('valkey', 'valkey'), bringing('other', 'kv')).events).toEqual(['PluginInstalled', 'PluginInstalled']);
    expect(() => life(bringing('a', 'valkey'), bringing('b', 'kv', ['valkey']))).toThrow('Its service type valkey is a service type of plugin a already');
    expect(() => life(bringing('a', 'valkey'), install('valkey'))).toThrow('Its name is a service type of plugin a already');
    expect(() => life(install('valkey'), bringing('a', 'valkey'))).toThrow('Its service type valkey is that of plugin valkey already');
    expect(() => life(bringing('a', 'maintenance'))).toThrow('Its service type maintenance is that of plugin maintenance already');
  });

  it('that come with Berth can be disabled, and nothing else', () => {
    const own = { plugin: 'maintenance', bundled };
    expect(life({ type: 'Disable', reason: 'by x', ...own }, { type: 'Disable', reason: 'by x', ...own }, { type: 'Enable', ...own }).events).toEqual(['PluginDisabled', 'PluginEnabled']);
    expect(() => life({ type: 'Uninstall', ...own })).toThrow('comes with Berth');
    expect(() => life(install('maintenance'))).toThrow('comes with Berth');
    expect(() => life({ type: 'Enable', plugin: 'nobody', bundled })).toThrow('There is no plugin nobody');
  });

  it('remember values of the server and of apps apart, and forget them', () => {
    const remember = (app: string | null, values: SettingsCommand['values']): SettingsCommand => ({ type: 'Remember', plugin: 'hello', app, values });
    const state = [remember(null, { a: '1' }), remember('x', { a: '2', b: '3' }), remember('x', { a: null })].reduce((s, c) => fold(pluginSettings, pluginSettings.decide(c, s), s), pluginSettings.initial);
    expect(state).toEqual({ server: { a: '1' }, apps: { x: { b: '3' } } });
    expect(pluginSettings.decide(remember(null, { a: '1', z: null }), state)).toEqual([]);
    expect(() => pluginSettings.decide(remember(null, { big: 'x'.repeat(70_000) }), state)).toThrow('wants to remember 70000 characters');
  });
});
