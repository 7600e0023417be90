import { registryServer, type RegistryLogin } from '../../drivers/engine/registry-login.js';
import { Rejected } from '../../events/decider.js';
import { shown } from '../apps/app.decider.js';
import type { Core } from '../core.js';
import { REGISTRY_ACCESS, registryAccess } from './registry-access.decider.js';

/** id of the key that seals what registries know us by */
export const SEAL = 'registry';

/** The registry in its one spelling. @throws Rejected for what is none */
export function checkServer(text: string): string {
  const server = registryServer(text);
  if (server === null) throw new Rejected('registry.server', `'${shown(text)}' is not the name of a registry`, 'for example: registry.example:5000, ghcr.io, docker.io; without a path');
  return server;
}

/** What registries want to see, in the clear. @throws Unreadable when the key is gone */
export async function loginsOf(core: Pick<Core, 'repository' | 'box'>): Promise<RegistryLogin[]> {
  const { state } = await core.repository.load(registryAccess, REGISTRY_ACCESS);
  return Promise.all(Object.entries(state).map(async ([server, { user, password }]) => ({ server, user, password: await core.box.unseal(password) })));
}
