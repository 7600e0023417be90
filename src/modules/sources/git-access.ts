import type { GitAccess } from '../../drivers/git/git.access.js';
import type { Core } from '../core.js';
import { GIT_ACCESS, gitAccess } from './git-access.decider.js';

/** id of the key that seals what other servers know us by */
export const SEAL = 'git';

/** What other servers want to see, in the clear. @throws Unreadable when the key is gone */
export async function accessOf(core: Pick<Core, 'repository' | 'box'>): Promise<GitAccess> {
  const { logins, hosts, deployKey } = (await core.repository.load(gitAccess, GIT_ACCESS)).state;
  return {
    logins: await Promise.all(Object.entries(logins).map(async ([host, { user, token }]) => ({ host, user, token: await core.box.unseal(token) }))),
    deployKey: deployKey === null ? null : await core.box.unseal(deployKey.privateKey),
    knownHosts: Object.values(hosts).flat(),
  };
}
