import type { Channel } from '../channel.js';
import { call, notAnAddress } from './calling.js';

const COLOR = { good: '#2e7d32', info: '#546e7a', warning: '#f9a825', error: '#c62828' } as const;
const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** Incoming webhooks as Slack has them: Mattermost, Rocket.Chat and Discord (its address with `/slack` behind) take the same. */
export const slack: Channel = {
  name: 'slack', title: 'Slack, Mattermost, Rocket.Chat; Discord with /slack behind its address',
  options: [{ name: 'url', about: 'address of the incoming webhook', secret: true }],
  check: ({ url = '' }) => notAnAddress('url', url, 'https://hooks.slack.com/services/T…/B…/…'),
  host: ({ url = '' }) => new URL(url).hostname,
  send: (posting) => {
    const { title, text, level, url } = posting.message;
    const attachment = { color: COLOR[level], fallback: text, text: escaped(text), ...(url !== undefined && { title: url, title_link: url }) };
    return call(posting, posting.options['url']!, { text: `*${escaped(title)}*`, attachments: [attachment] });
  },
};
