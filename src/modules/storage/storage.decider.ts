import { never, Rejected, type Decider } from '../../events/decider.js';
import type { Mount, StorageEvent } from '../../events/types/app.events.js';

/** An app's volumes: those that are mounted, and the names of those that are kept though they are not. Stream `storage-<app id>`. */
export interface StorageState { readonly mounts: readonly Mount[]; readonly kept: readonly string[] }
export type StorageCommand =
  | { readonly type: 'Mount'; readonly app: string; readonly name: string; readonly path: string }
  | { readonly type: 'Unmount'; readonly app: string; readonly name: string }
  /** its data goes; what is mounted is refused */
  | { readonly type: 'Destroy'; readonly app: string; readonly name: string };

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/;
/** where nothing can be mounted without breaking the container */
const TAKEN = /^\/(?:|proc|sys|dev|etc|bin|sbin|lib|lib64|usr|tmp)$|^\/(?:proc|sys|dev)\//;

/** The engine's name of an app's volume. By the app's id: it stays when the app is renamed. */
export const volumeName = (instance: string, app: string, name: string): string => `${instance}.${app}.${name}`;

/** `<name>:<path>`. @throws Rejected */
export function parseMount(text: string): Mount {
  const [name = '', path = '', ...rest] = text.split(':');
  const example = 'for example: berth storage:mount blog data:/app/data';
  if (name.startsWith('/')) throw new Rejected('storage.name', `'${text.slice(0, 80)}': Berth mounts volumes, which it keeps itself and backs up, not folders of the server`, example);
  if (!NAME.test(name)) throw new Rejected('storage.name', `'${name.slice(0, 60)}' will not do for a volume: lower-case letters, digits and hyphens, at most 40`, example);
  if (rest.length > 0) throw new Rejected('storage.path', `'${text.slice(0, 80)}' has more than a name and a path: options are not taken`, example);
  const clean = path.replace(/\/+$/, '');
  if (!/^\/[^\0:]{1,200}$/.test(clean) || clean.split('/').slice(1).some((part) => part === '' || part === '.' || part === '..')) throw new Rejected('storage.path', `'${path.slice(0, 80)}' is not an absolute path in the app's containers`, example);
  if (TAKEN.test(clean)) throw new Rejected('storage.path', `${clean} is the container's own`, example);
  return { name, path: clean };
}

export const storage: Decider<StorageState, StorageCommand, StorageEvent> = {
  initial: { mounts: [], kept: [] },
  decide({ type, app, name, ...rest }, { mounts, kept }) {
    const mounted = mounts.find((mount) => mount.name === name);
    switch (type) {
      case 'Mount': {
        const { path } = rest as { path: string };
        if (mounted?.path === path) return [];
        if (mounted) throw new Rejected('storage.mounted', `${name} is mounted at ${mounted.path} already`, `first: berth storage:unmount <app> ${name}`);
        const other = mounts.find((mount) => mount.path === path);
        if (other) throw new Rejected('storage.mounted', `${other.name} is mounted at ${path} already`, 'choose another path');
        return [{ type: 'StorageMounted', data: { app, name, path } }];
      }
      case 'Unmount':
        if (!mounted) throw new Rejected('storage.missing', `${name} is not mounted`, 'see: berth storage:list <app>');
        return [{ type: 'StorageUnmounted', data: { app, name, path: mounted.path } }];
      case 'Destroy':
        if (mounted) throw new Rejected('storage.mounted', `${name} is mounted at ${mounted.path}`, `first: berth storage:unmount <app> ${name}`);
        if (!kept.includes(name)) throw new Rejected('storage.missing', `There is no volume ${name}`, 'see: berth storage:list <app>');
        return [{ type: 'StorageDestroyed', data: { app, name } }];
      default: return never(type);
    }
  },
  evolve({ mounts, kept }, event) {
    const { name } = event.data;
    switch (event.type) {
      case 'StorageMounted': return { mounts: [...mounts, { name, path: event.data.path }], kept: kept.filter((each) => each !== name) };
      case 'StorageUnmounted': return { mounts: mounts.filter((mount) => mount.name !== name), kept: [...kept, name] };
      case 'StorageDestroyed': return { mounts, kept: kept.filter((each) => each !== name) };
      default: return never(event);
    }
  },
};
