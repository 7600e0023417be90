import type { Channel } from '../channel.js';
import { call, notAnAddress } from './calling.js';

const SERVER = 'https://api.telegram.org';
const MARK = { good: '✅', info: 'ℹ️', warning: '⚠️', error: '🔴' } as const;

/** Telegram's bots. */
export const telegram: Channel = {
  name: 'telegram', title: 'A chat in Telegram, by a bot',
  options: [{ name: 'chat', about: 'id of the chat, or @name of a channel' }, { name: 'token', about: 'token of the bot, as @BotFather gave it', secret: true }, { name: 'server', about: `a Bot API server of one's own (${SERVER})`, optional: true }],
  check: ({ chat = '', token = '', server = SERVER }) => {
    if (!/^(?:-?\d{1,20}|@[A-Za-z][A-Za-z0-9_]{3,40})$/.test(chat)) return 'chat is the number of a chat, or @name: for example -1001234567890';
    return /^\d{1,20}:[A-Za-z0-9_-]{10,100}$/.test(token) ? notAnAddress('server', server, SERVER) : 'token is not that of a bot: digits, a colon and letters';
  },
  host: ({ server = SERVER }) => new URL(server).hostname,
  send: (posting) => {
    const { options: { chat, token, server = SERVER }, message: { title, text, level, url } } = posting;
    return call(posting, `${server.replace(/\/+$/, '')}/bot${token}/sendMessage`, { chat_id: chat, text: [`${MARK[level]} ${title}`, text, url].filter(Boolean).join('\n'), link_preview_options: { is_disabled: true } });
  },
};
