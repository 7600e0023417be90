import type { Channel } from '../channel.js';
import { call, notAnAddress } from './calling.js';

const PRIORITY = { good: 3, info: 3, warning: 4, error: 5 } as const;
const TAG = { good: 'white_check_mark', info: 'information_source', warning: 'warning', error: 'rotating_light' } as const;
const TOPIC = /^\/([A-Za-z0-9_-]{1,64})$/;

/** ntfy.sh, or a server of one's own: JSON to its root, which takes any letters. */
export const ntfy: Channel = {
  name: 'ntfy', title: 'A push message to phones, by ntfy',
  options: [{ name: 'url', about: 'server and topic: https://ntfy.sh/my-topic' }, { name: 'token', about: 'an access token, where the topic wants one', secret: true, optional: true }],
  check: ({ url = '' }) => notAnAddress('url', url, 'https://ntfy.sh/my-topic') ?? (TOPIC.test(new URL(url).pathname) ? null : 'url has no topic behind the server: for example https://ntfy.sh/my-topic'),
  host: ({ url = '' }) => new URL(url).hostname,
  send: (posting) => {
    const { options: { url = '', token }, message } = posting;
    const { origin, pathname } = new URL(url);
    return call(posting, `${origin}/`, { topic: TOPIC.exec(pathname)?.[1], title: message.title, message: message.text, priority: PRIORITY[message.level], tags: [TAG[message.level]], ...(message.url !== undefined && { click: message.url }) }, token === undefined ? {} : { authorization: `Bearer ${token}` });
  },
};
