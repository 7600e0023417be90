import { never, Rejected, type Decider } from '../../events/decider.js';
import type { Sealed } from '../../events/sealed.js';
import type { ConfigEvent } from '../../events/types/app.events.js';
import { shown } from '../apps/app.decider.js';

/** Sealed config vars of one app; its version is the stream's version. Stream `config-<app id>`. */
export type ConfigState = Readonly<Record<string, Sealed>>;
export type ConfigCommand = { type: 'Set'; app: string; values: Readonly<Record<string, Sealed>> } | { type: 'Unset'; app: string; keys: readonly string[] };

/** bytes of one value, as UTF-8; what still fits an environment (Linux: 128 KiB a variable) */
export const VALUE_MAX = 120_000;

export function checkKey(key: string): void {
  if (!/^[a-zA-Z_][a-zA-Z0-9_]{0,255}$/.test(key) || key === '__proto__') throw new Rejected('config.key', `Invalid key name: '${shown(key)}'`, 'letters, digits and underscores, no digit first: NAME=value');
}

export function checkValue(key: string, value: string): void {
  if (value.includes('\0')) throw new Rejected('config.value', `The value of ${key} has a NUL byte, which no environment can hold`, 'encode it, for example as base64');
  const bytes = Buffer.byteLength(value);
  if (bytes > VALUE_MAX) throw new Rejected('config.value', `The value of ${key} has ${bytes} bytes, at most ${VALUE_MAX} fit an environment variable`, 'put it in a file or a store, and its address here');
}

export const config: Decider<ConfigState, ConfigCommand, ConfigEvent> = {
  initial: {},
  decide(command, state) {
    switch (command.type) {
      case 'Set': {
        const keys = Object.keys(command.values);
        keys.forEach(checkKey);
        return keys.length === 0 ? [] : [{ type: 'ConfigSet', data: { app: command.app, values: { ...command.values } } }];
      }
      case 'Unset': {
        command.keys.forEach(checkKey);
        const keys = [...new Set(command.keys)].filter((key) => Object.hasOwn(state, key));
        return keys.length === 0 ? [] : [{ type: 'ConfigUnset', data: { app: command.app, keys } }];
      }
      default: return never(command);
    }
  },
  evolve(state, event) {
    if (event.type === 'ConfigSet') return { ...state, ...event.data.values };
    const gone = new Set(event.data.keys);
    return Object.fromEntries(Object.entries(state).filter(([key]) => !gone.has(key)));
  },
};
