import { randomBytes } from 'node:crypto';
import { BlockList, isIP } from 'node:net';
import type { BundledPlugin } from '../../contract/define.js';
import { passwordHash } from '../../contract/password.js';
import type { CommandAnswer, CommandCall } from '../../contract/protocol.js';
import { APP, appOf, given, manifestOf, refused, remembered, report, word } from '../kit.js';

/** name → hash */
type Users = Readonly<Record<string, string>>;
const NAME = /^[A-Za-z0-9._@-]{1,64}$/;
const MOST = 500;

const usersOf = (settings: Readonly<Record<string, string>>): Users => remembered<Users>(settings, 'users', {});
const allowOf = (settings: Readonly<Record<string, string>>): readonly string[] => remembered<readonly string[]>(settings, 'allow', []);
const on = (settings: Readonly<Record<string, string>>): boolean => settings['enabled'] === 'on';

/** `10.0.0.0/8` or one address; null when it is none. */
export function cidrOf(text: string): string | null {
  const [ip = '', length, ...more] = text.toLowerCase().split('/');
  const family = isIP(ip);
  if (family === 0 || more.length > 0 || (length !== undefined && !/^\d{1,3}$/.test(length))) return null;
  try {
    new BlockList().addSubnet(ip, Number(length ?? (family === 4 ? 32 : 128)), family === 4 ? 'ipv4' : 'ipv6');
    return length === undefined ? ip : `${ip}/${Number(length)}`;
  } catch {
    return null;
  }
}

/** What follows from other users or addresses: nothing while it is off. */
const changed = (call: CommandCall, say: string, change: Pick<CommandAnswer, 'settings' | 'secrets'>): CommandAnswer => ({
  say: [`-----> ${say}`, ...(on(appOf(call).settings) ? [] : [`       it counts once http-auth is on: berth http-auth:enable ${appOf(call).name}`])], ...change, ...(on(appOf(call).settings) && { deploy: 'domains' }),
});

function addUser(call: CommandCall, name: string, word_: string): CommandAnswer & { readonly users?: Users } {
  if (!NAME.test(name)) return refused(`'${name.slice(0, 60)}' will not do for a user`, 'letters, digits, dots, hyphens, underscores and @, at most 64');
  // eslint-disable-next-line no-control-regex
  if (word_ !== '' && (word_.length < 8 || word_.length > 200 || /[\u0000-\u001f\u007f]/.test(word_))) return refused('A password has 8 to 200 characters, none of them a control character', 'give none, and one is made up');
  const password = word_ || randomBytes(15).toString('base64url');
  const users = { ...usersOf(appOf(call).settings), [name]: passwordHash(password) };
  if (Object.keys(users).length > MOST) return refused(`There are ${MOST} users already`, `berth http-auth:report ${appOf(call).name}`);
  return { users, ...(word_ === '' && { say: [`       the password of ${name}, shown this once: ${password}`], data: { user: name, password } }) };
}

/** Settings of an app: `enabled` (`on`), `allow` (JSON list of CIDR); secret: `users` (JSON, name → hash). */
export const httpAuth: BundledPlugin = {
  manifest: manifestOf('http-auth', 'HTTP basic auth in front of an app', {
    commands: [
      { name: 'http-auth:enable', summary: 'Let only users with a password, and allowed addresses, reach an app', example: 'berth http-auth:enable blog ada', arguments: [APP, word('user', 'a first user', true), word('password', 'the user\'s password; one is made up when there is none', true)] },
      { name: 'http-auth:disable', summary: 'Let everybody reach an app again; its users are kept', arguments: [APP] },
      { name: 'http-auth:add-user', summary: 'Add a user, or give one another password', example: 'berth http-auth:add-user blog ada', arguments: [APP, word('user', 'the user\'s name'), word('password', 'one is made up when there is none', true)] },
      { name: 'http-auth:remove-user', summary: 'Take a user away', example: 'berth http-auth:remove-user blog ada', arguments: [APP, word('user', 'the user\'s name')] },
      { name: 'http-auth:add-allowed-ip', summary: 'Let an address or net in without a password', example: 'berth http-auth:add-allowed-ip blog 10.0.0.0/8', arguments: [APP, word('address', 'an address, or a net as CIDR')] },
      { name: 'http-auth:remove-allowed-ip', summary: 'Ask an address or net for a password again', example: 'berth http-auth:remove-allowed-ip blog 10.0.0.0/8', arguments: [APP, word('address', 'as it was added')] },
      { name: 'http-auth:report', summary: 'Show who may reach an app', arguments: [APP], reads: true },
      { name: 'http-auth:show-config', summary: 'Show what the router is told, without the hashes', arguments: [APP], reads: true },
    ],
    // an app that shall be shut is not opened because its users cannot be read
    hooks: [{ step: 'route', when: 'before', mayRefuse: true }],
  }),
  handlers: {
    commands: {
      'http-auth:enable': (call) => {
        const { name, settings } = appOf(call);
        const user = given(call, 'user');
        const { users, say = [], ...more } = user === '' ? { users: undefined } : addUser(call, user, given(call, 'password'));
        if ('error' in more) return more;
        const nobody = users === undefined && Object.keys(usersOf(settings)).length + allowOf(settings).length === 0;
        if (nobody) return refused(`Nobody could reach ${name}: it has neither a user nor an allowed address`, `berth http-auth:enable ${name} <user>`);
        return { ...more, say: [`-----> Enabling HTTP auth for ${name}`, ...say], settings: { enabled: 'on' }, ...(users && { secrets: { users: JSON.stringify(users) } }), ...((users || !on(settings)) && { deploy: 'domains' as const }) };
      },
      'http-auth:disable': (call) => ({ say: [`-----> Disabling HTTP auth for ${appOf(call).name}`], settings: { enabled: null }, ...(on(appOf(call).settings) && { deploy: 'domains' }) }),
      'http-auth:add-user': (call) => {
        const { users, say = [], ...more } = addUser(call, given(call, 'user'), given(call, 'password'));
        if (users === undefined) return more;
        const answer = changed(call, `Adding ${given(call, 'user')} to HTTP auth of ${appOf(call).name}`, { secrets: { users: JSON.stringify(users) } });
        return { ...more, ...answer, say: [...answer.say!, ...say] };
      },
      'http-auth:remove-user': (call) => {
        const { name, settings } = appOf(call);
        const user = given(call, 'user');
        const { [user]: _, ...users } = usersOf(settings);
        if (!Object.hasOwn(usersOf(settings), user)) return refused(`${user.slice(0, 60)} is no user of ${name}`, `see: berth http-auth:report ${name}`);
        return changed(call, `Removing ${user} from HTTP auth of ${name}`, { secrets: { users: Object.keys(users).length > 0 ? JSON.stringify(users) : null } });
      },
      'http-auth:add-allowed-ip': (call) => {
        const { name, settings } = appOf(call);
        const address = cidrOf(given(call, 'address'));
        if (address === null) return refused(`'${given(call, 'address').slice(0, 60)}' is not an address`, 'for example: 192.0.2.7, 10.0.0.0/8 or fd00::/8');
        const allow = [...new Set([...allowOf(settings), address])];
        if (allow.length > MOST) return refused(`There are ${MOST} addresses already`, `berth http-auth:report ${name}`);
        return changed(call, `${address} reaches ${name} without a password`, { settings: { allow: JSON.stringify(allow) } });
      },
      'http-auth:remove-allowed-ip': (call) => {
        const { name, settings } = appOf(call);
        const address = cidrOf(given(call, 'address')) ?? '';
        const allow = allowOf(settings);
        if (!allow.includes(address)) return refused(`${given(call, 'address').slice(0, 60)} is not among the allowed addresses of ${name}`, `see: berth http-auth:report ${name}`);
        const left = allow.filter((each) => each !== address);
        return changed(call, `${address} is asked for a password again`, { settings: { allow: left.length > 0 ? JSON.stringify(left) : null } });
      },
      'http-auth:report': (call) => {
        const { name, settings } = appOf(call);
        return report(`${name} http-auth information`, { 'http-auth enabled': String(on(settings)), 'http-auth users': Object.keys(usersOf(settings)).join(' '), 'http-auth allowed ips': allowOf(settings).join(' ') });
      },
      'http-auth:show-config': (call) => {
        const { settings } = appOf(call);
        const auth = on(settings) ? { users: Object.keys(usersOf(settings)).map((name) => ({ name, hash: '(hidden)' })), allow: allowOf(settings) } : null;
        return { say: JSON.stringify({ auth }, null, 2).split('\n'), data: { auth } };
      },
    },
    hooks: {
      'before route': ({ app: { settings } }) => (on(settings) ? { add: { router: { auth: { users: Object.entries(usersOf(settings)).map(([name, hash]) => ({ name, hash })), allow: allowOf(settings) } } } } : {}),
    },
  },
};
