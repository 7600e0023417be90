import { never, Rejected, type Decider } from '../../events/decider.js';
import type { Mount, StorageEvent } from '../../events/types/app.events.js';

/** An app's volumes: those that are mounted, and the names of those that are kept though they are not. Stream `storage-<app id>`. */
export interface StorageState { readonly mounts: readonly Mount[]; readonly kept: readonly string[]; /** by name: which volume it is; the first where there is none */ readonly generations: Readonly<Record<string, number>> }
export type StorageCommand =
  | { readonly type: 'Mount'; readonly app: string; readonly name: string; readonly path: string }
  | { readonly type: 'Unmount'; readonly app: string; readonly name: string }
  /** its data goes; what is mounted is refused */
  | { readonly type: 'Destroy'; readonly app: string; readonly name: string }
  /** another volume takes its place */
  | { readonly type: 'Replace'; readonly app: string; readonly name: string; readonly generation: number };

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/;
/** where nothing can be mounted without breaking the container */
const TAKEN = /^\/(?:|proc|sys|dev|etc|bin|sbin|lib|lib64|usr|tmp)$|^\/(?:proc|sys|dev)\//;

/** The engine's name of an app's volume. By the app's id: it stays when the app is renamed. @param generation absent: the first one */
export const volumeName = (instance: string, app: string, name: string, generation = 0): string => `${instance}.${app}.${name}${generation === 0 ? '' : `.g${generation}`}`;
/** The generation in such a name. */
export const generationOf = (volume: string): number => Number(/\.g(\d+)$/.exec(volume)?.[1] ?? 0);

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
  initial: { mounts: [], kept: [], generations: {} },
  decide({ type, app, name, ...rest }, { mounts, kept, generations }) {
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
      case 'Replace': {
        const { generation } = rest as { generation: number };
        if (!mounted && !kept.includes(name)) throw new Rejected('storage.missing', `There is no volume ${name}`, 'see: berth storage:list <app>');
        return generations[name] === generation ? [] : [{ type: 'StorageReplaced', data: { app, name, generation } }];
      }
      default: return never(type);
    }
  },
  evolve({ mounts, kept, generations }, event) {
    const { name } = event.data;
    const generation = generations[name];
    switch (event.type) {
      case 'StorageMounted': return { mounts: [...mounts, { name, path: event.data.path, ...(generation !== undefined && { generation }) }], kept: kept.filter((each) => each !== name), generations };
      case 'StorageUnmounted': return { mounts: mounts.filter((mount) => mount.name !== name), kept: [...kept, name], generations };
      case 'StorageDestroyed': return { mounts, kept: kept.filter((each) => each !== name), generations };
      case 'StorageReplaced': return { mounts: mounts.map((mount) => (mount.name === name ? { ...mount, generation: event.data.generation } : mount)), kept, generations: { ...generations, [name]: event.data.generation } };
      default: return never(event);
    }
  },
};
