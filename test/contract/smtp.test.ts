import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createSilent, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sendMail, type Mail } from '../../src/drivers/mail/smtp.driver.js';
import type { StepFailure } from '../../src/events/step.js';

/** Mail, handed to a real server over a socket. */
interface Got { readonly from: string; readonly to: readonly string[]; readonly user: string | undefined; readonly secure: boolean; readonly text: string }
let dir: string;
let pair: { key: string; cert: string };
let got: Got[] = [];
const stops: (() => Promise<void>)[] = [];

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'berth-smtp-'));
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', join(dir, 'key.pem'), '-out', join(dir, 'cert.pem'), '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'], { stdio: 'ignore' });
  pair = { key: readFileSync(join(dir, 'key.pem'), 'utf8'), cert: readFileSync(join(dir, 'cert.pem'), 'utf8') };
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));
afterEach(async () => {
  got = [];
  setDefaultCACertificates(getCACertificates('bundled'));
  for (const stop of stops.splice(0)) await stop();
});
const trusted = (): void => setDefaultCACertificates([...getCACertificates('bundled'), pair.cert]);

/** A server that lets `berth` with the password `secret` in; answers its port. */
async function server(options: SMTPServerOptions = {}): Promise<number> {
  const one = new SMTPServer({
    ...pair, authOptional: true, disableReverseLookup: true, closeTimeout: 100,
    onAuth: ({ username, password }, _, done) => (username === 'berth' && password === 'secret' ? done(null, { user: username }) : done(Object.assign(new Error('who are you'), { responseCode: 535 }))),
    onData: (stream, { envelope, user, secure }, done) => {
      const pieces: Buffer[] = [];
      stream.on('data', (piece: Buffer) => pieces.push(piece)).on('end', () => {
        got.push({ from: envelope.mailFrom ? envelope.mailFrom.address : '', to: envelope.rcptTo.map(({ address }) => address), user: user as string | undefined, secure, text: Buffer.concat(pieces).toString('utf8') });
        done(null, 'queued as 7');
      });
    },
    ...options,
  });
  one.on('error', () => {}); // whoever goes away in the middle is looked at on the other side
  await new Promise<void>((resolve) => { one.listen(0, '127.0.0.1', () => resolve()); });
  stops.push(() => new Promise((resolve) => { one.close(() => resolve()); }));
  return (one.server.address() as AddressInfo).port;
}
const mail = (port: number, more: Partial<Mail> = {}): Mail => ({ host: 'localhost', port, security: 'starttls', login: { user: 'berth', password: 'secret' }, from: 'berth@example.com', to: ['ada@example.com', 'bob@example.com'], subject: 'blog: Größe überschritten', text: 'Zeile eins\nZeile zwei', id: 'msg_ops_1@here', urgent: true, anywhere: true, root: 'notify:add --private', signal: new AbortController().signal, ...more });
const refused = async (wish: Mail): Promise<StepFailure> => sendMail(wish).then(() => { throw new Error('it was sent'); }, (error: unknown) => error as StepFailure);

describe('mail', () => {
  it('is handed over with STARTTLS and a login, its words whole, with an id that stays', async () => {
    trusted();
    expect(await sendMail(mail(await server()))).toMatchObject({ said: expect.stringContaining('queued as 7'), refused: [] });
    expect(got).toMatchObject([{ from: 'berth@example.com', to: ['ada@example.com', 'bob@example.com'], user: 'berth', secure: true }]);
    const { text } = got[0]!;
    expect(text).toMatch(/^Message-ID: <msg_ops_1@here>$/mi);
    expect(text).toMatch(/^Auto-Submitted: auto-generated$/mi);
    expect(text).toMatch(/^Importance: High$/mi);
    expect(/^Subject: =\?UTF-8\?/mi.test(text)).toBe(true);
    expect(text).toMatch(/Zeile eins\r\nZeile zwei/);
  });

  it('goes over TLS from the first byte, and in clear where there is no password', async () => {
    trusted();
    await sendMail(mail(await server({ secure: true }), { security: 'tls' }));
    await sendMail(mail(await server({ hideSTARTTLS: true, disabledCommands: ['AUTH'] }), { security: 'none', login: null }));
    expect(got.map(({ secure, user }) => [secure, user])).toEqual([[true, 'berth'], [false, undefined]]);
  });

  it('that not everybody may have goes to the others, and it is said who did not get it', async () => {
    trusted();
    const port = await server({ onRcptTo: ({ address }, _, done) => (address.startsWith('bob') ? done(Object.assign(new Error('no bob here'), { responseCode: 550 })) : done()) });
    expect(await sendMail(mail(port))).toMatchObject({ refused: ['bob@example.com'] });
    expect(got.map(({ to }) => to)).toEqual([['ada@example.com']]);
  });

  it('is tried again when the server says later, and not when it says no', async () => {
    trusted();
    const answers = (code: number): SMTPServerOptions => ({ onMailFrom: (_, __, done) => done(Object.assign(new Error('because'), { responseCode: code })) });
    expect(await refused(mail(await server(answers(451))))).toMatchObject({ code: 'notify.smtp', fault: 'machine', message: expect.stringContaining('because') });
    expect(await refused(mail(await server(answers(550))))).toMatchObject({ code: 'notify.smtp', fault: 'user' });
    const wrong = await refused(mail(await server(), { login: { user: 'berth', password: 'a wrong one' } }));
    expect(wrong).toMatchObject({ code: 'notify.login', fault: 'user', message: expect.stringContaining('who are you') });
    expect(wrong.message).not.toContain('a wrong one');
    expect(await refused(mail(await server({ onAuth: (_, __, done) => done(Object.assign(new Error('the directory is away'), { responseCode: 454 })) })))).toMatchObject({ code: 'notify.login', fault: 'machine' });
    const port = await server();
    await stops.pop()!();
    expect(await refused(mail(port))).toMatchObject({ code: 'notify.unreachable', fault: 'machine' });
    expect(got).toEqual([]);
  });

  it('shows nobody its password who cannot show a certificate, or has no TLS at all', async () => {
    expect(await refused(mail(await server()))).toMatchObject({ code: 'notify.certificate', fault: 'user' });
    trusted();
    expect(await refused(mail(await server(), { host: '127.0.0.1' }))).toMatchObject({ code: 'notify.certificate', fault: 'user' });
    expect(await refused(mail(await server({ hideSTARTTLS: true, disabledCommands: ['STARTTLS'] })))).toMatchObject({ code: 'notify.tls', fault: 'user' });
    expect(got).toEqual([]);
  });

  it('is not sent to private addresses unless root said so, by number or by name', async () => {
    const port = await server();
    for (const host of ['127.0.0.1', 'localhost', '10.0.0.1', '::1']) expect(await refused(mail(port, { host, anywhere: false })), host).toMatchObject({ code: 'notify.private', fault: 'user', hint: expect.stringContaining('notify:add --private') });
  });

  it('ends when nobody waits for it any more', async () => {
    const stop = new AbortController();
    const silent: Server = createSilent(() => stop.abort(new Error('over')));
    await new Promise<void>((resolve) => { silent.listen(0, '127.0.0.1', resolve); });
    await expect(sendMail(mail((silent.address() as AddressInfo).port, { signal: stop.signal }))).rejects.toThrow('over');
    silent.close();
  });
});
