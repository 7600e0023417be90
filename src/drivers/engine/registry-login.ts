/** What a registry wants to see, in the clear. `server`: see registryServer. */
export interface RegistryLogin { readonly server: string; readonly user: string; readonly password: string }
/** All of now; asked at every pull and every build. */
export type RegistryLogins = () => Promise<readonly RegistryLogin[]>;

export const DOCKER_HUB = 'docker.io';
/** what the engine calls Docker Hub in its talks about logins */
const HUB_ADDRESS = 'https://index.docker.io/v1/';
const HUB_HOSTS = new Set([DOCKER_HUB, 'index.docker.io', 'registry-1.docker.io', 'hub.docker.com']);

/** A registry in its one spelling: `host` or `host:port`, lower case, `docker.io` for all names of Docker Hub; null for what is none. */
export function registryServer(text: string): string | null {
  const bare = text.toLowerCase().replace(/^https?:\/\//, '').replace(/\/(?:v[12]\/?)?$/, '');
  if (HUB_HOSTS.has(bare)) return DOCKER_HUB;
  return /^(?=.{1,260}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*|\[[0-9a-f:]+\])(?::\d{1,5})?$/.test(bare) ? bare : null;
}

/** The registry of an image: `ghcr.io/team/shop:7` → `ghcr.io`, `nginx` → `docker.io` */
export function serverOf(reference: string): string {
  const [first = '', ...rest] = reference.split('/');
  return rest.length > 0 && (/[.:]/.test(first) || first === 'localhost') ? registryServer(first) ?? first : DOCKER_HUB;
}

const forServer = (logins: readonly RegistryLogin[], server: string): RegistryLogin | undefined => logins.find((login) => login.server === server);

/** What the engine's pull takes along (`X-Registry-Auth`). */
export interface AuthConfig { readonly username: string; readonly password: string; readonly serveraddress: string }
export const authConfig = ({ server, user, password }: RegistryLogin): AuthConfig => ({ username: user, password, serveraddress: server === DOCKER_HUB ? HUB_ADDRESS : server });
export function authFor(logins: readonly RegistryLogin[], reference: string): AuthConfig | undefined {
  const login = forServer(logins, serverOf(reference));
  return login && authConfig(login);
}

/** The same for all registries, for the legacy builder (`X-Registry-Config`). */
export function registryConfig(logins: readonly RegistryLogin[]): Record<string, { username: string; password: string }> | undefined {
  return logins.length === 0 ? undefined : Object.fromEntries(logins.map((login) => [authConfig(login).serveraddress, { username: login.user, password: login.password }]));
}

/** BuildKit asks by the host that it speaks to. */
export function loginAt(logins: readonly RegistryLogin[], host: string): RegistryLogin | undefined { return forServer(logins, registryServer(host) ?? host); }
