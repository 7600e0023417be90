import type { ServiceAccess } from './service-type.js';

type Filling = Omit<ServiceAccess, 'owner' | 'former'>;

/** What a placeholder stands for. `password:url` can stand in a URL, `password:sql` between single quotes of SQL. */
const VALUES: Readonly<Record<string, (access: Filling, before: Filling) => string>> = {
  name: ({ name }) => name, host: ({ host }) => host, port: ({ port }) => String(port), database: ({ database }) => database, user: ({ user }) => user,
  password: ({ password }) => password, 'password:url': ({ password }) => encodeURIComponent(password), 'password:sql': ({ password }) => password.replaceAll("'", "''"),
  before: (_, { password }) => password, 'before:sql': (_, { password }) => password.replaceAll("'", "''"),
};
export const PLACEHOLDERS: readonly string[] = Object.keys(VALUES);
/** those that say a password */
export const SECRETS: readonly string[] = PLACEHOLDERS.filter((name) => /^(?:password|before)/.test(name));

/** `${name}` is a shell's, and stays */
const PLACEHOLDER = /(?<!\$)\{([a-z]+(?::[a-z]+)?)\}/g;

/** The placeholders in a text, those that nobody knows too. */
export const placeholdersIn = (text: string): string[] => [...new Set([...text.matchAll(PLACEHOLDER)].map((match) => match[1]!))];

/** The text with its placeholders filled in, in one pass: what a value says is no placeholder. `before`: with the password until now. */
export const filled = (text: string, access: Filling, before: Filling = access): string => text.replace(PLACEHOLDER, (whole, name: string) => (Object.hasOwn(VALUES, name) ? VALUES[name]!(access, before) : whole));
