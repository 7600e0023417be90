import { sendMail, type Security } from '../../../drivers/mail/smtp.driver.js';
import type { Channel } from '../channel.js';
import { ROOT } from './calling.js';

const ADDRESS = /^[^\s@<>,"]{1,100}@[^\s@<>,"]{1,200}$/;
const SERVER = /^(?<host>[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(?::(?<port>\d{1,5}))?$/;
const SECURITY: readonly Security[] = ['starttls', 'tls', 'none'];
const listOf = (text: string): string[] => text.split(',').map((one) => one.trim()).filter(Boolean);

function serverOf({ server = '', security }: Readonly<Record<string, string>>): { host: string; port: number; security: Security } {
  const { host = '', port } = SERVER.exec(server)?.groups ?? {};
  const number = port === undefined ? (security === 'tls' ? 465 : security === 'none' ? 25 : 587) : Number(port);
  return { host: host.replace(/^\[|\]$/g, ''), port: number, security: (security as Security | undefined) ?? (number === 465 ? 'tls' : 'starttls') };
}

/** Mail over SMTP. A password never travels in clear. */
export const email: Channel = {
  name: 'email', title: 'Mail, over an SMTP server',
  options: [
    { name: 'server', about: 'the SMTP server: mail.example.com, mail.example.com:465' }, { name: 'from', about: 'the sender: berth@example.com' }, { name: 'to', about: 'who gets it, with commas between' },
    { name: 'user', about: 'who logs in, where the server wants it', optional: true }, { name: 'password', about: 'the password of the user', secret: true, optional: true },
    { name: 'security', about: 'starttls (usual), tls (usual with port 465), or none', optional: true },
  ],
  check: (options) => {
    const { server = '', from = '', to = '', user, password, security } = options;
    if (!SERVER.test(server) || serverOf(options).port > 65_535) return 'server is not a host, or a host and a port: for example mail.example.com:587';
    const bad = [from, ...listOf(to)].find((address) => !ADDRESS.test(address));
    if (bad !== undefined) return `'${bad.slice(0, 60)}' is not an address of mail: for example ops@example.com`;
    if (listOf(to).length === 0 || listOf(to).length > 50) return 'to names nobody, or more than 50: for example to=ops@example.com,ada@example.com';
    if (security !== undefined && !SECURITY.includes(security as Security)) return `security is one of ${SECURITY.join(', ')}`;
    if ((user === undefined) !== (password === undefined)) return user === undefined ? 'there is a password, and no user: user=berth' : 'there is a user, and no password: pipe it in, or type it when asked';
    return password !== undefined && security === 'none' ? 'security=none would send the password in clear: starttls or tls, or no user' : null;
  },
  host: (options) => serverOf(options).host,
  send: async ({ options, message: { title, text, level, url }, id, host, anywhere, signal }) => {
    const { from = '', to = '', user, password } = options;
    const { refused, said, tookMs } = await sendMail({
      ...serverOf(options), login: user === undefined || password === undefined ? null : { user, password }, from, to: listOf(to), subject: `[${host}] ${title}`, text: [text, url].filter(Boolean).join('\n\n'),
      id: `${id}@${host}`, urgent: level === 'error', anywhere, signal, root: ROOT,
    });
    return `${said} after ${tookMs} ms${refused.length > 0 ? `; refused: ${refused.join(', ')}` : ''}`;
  },
};
