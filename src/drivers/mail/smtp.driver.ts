import { isIP } from 'node:net';
import { StepFailure } from '../../events/step.js';
import { unreachable } from '../http/answered.js';
import { addressOf, PrivateAddress } from '../http/call.js';

/** `starttls`: it must be had; `tls`: from the first byte on */
export type Security = 'starttls' | 'tls' | 'none';

export interface Mail {
  readonly host: string; readonly port: number; readonly security: Security;
  readonly login: { readonly user: string; readonly password: string } | null;
  readonly from: string; readonly to: readonly string[]; readonly subject: string; readonly text: string;
  /** without the brackets; the same for every try: mail programs show it once */
  readonly id: string;
  readonly urgent: boolean;
  /** the server may stand at a private address; `root`: how root says so */
  readonly anywhere: boolean; readonly root: string;
  readonly signal: AbortSignal;
}
interface Sent { /** the server's last word */ readonly said: string; readonly tookMs: number; /** those of `to` that it did not take */ readonly refused: readonly string[] }

/** for connecting, for the greeting, and for each answer, ms */
const SILENCE_MS = 15_000;
const WHOLE_MS = 60_000;

/** Hands one mail to a server. @throws StepFailure: 5xx, a login that is refused and a certificate that is none are the user's, the rest passes */
export async function sendMail({ host, port, security, login, from, to, subject, text, id, urgent, anywhere, root, signal }: Mail): Promise<Sent> {
  const started = performance.now();
  const all = AbortSignal.any([signal, AbortSignal.timeout(WHOLE_MS)]);
  try {
    const { createTransport } = await import('nodemailer'); // only where mail is sent
    const transport = createTransport({
      // looked up here: what was judged is what is connected to
      host: await addressOf(host, anywhere), port, secure: security === 'tls', requireTLS: security === 'starttls', ignoreTLS: security === 'none',
      ...(isIP(host) === 0 && { tls: { servername: host } }), ...(login && { auth: { user: login.user, pass: login.password } }),
      connectionTimeout: SILENCE_MS, greetingTimeout: SILENCE_MS, socketTimeout: SILENCE_MS, disableFileAccess: true, disableUrlAccess: true,
    });
    const { response, rejected } = await transport.sendMail({ from, to: [...to], subject, text, messageId: `<${id}>`, signal: all, ...(urgent && { priority: 'high' as const }), headers: { 'Auto-Submitted': 'auto-generated' } });
    return { said: response.slice(0, 200), tookMs: Math.round(performance.now() - started), refused: rejected };
  } catch (error) {
    signal.throwIfAborted();
    throw failureOf(error as SmtpError, root, all.aborted);
  }
}

interface SmtpError extends Error { readonly code?: string; readonly responseCode?: number }

function failureOf(error: SmtpError, root: string, late: boolean): StepFailure {
  if (error instanceof PrivateAddress) return unreachable(error, { code: 'notify', root });
  const { code = '', responseCode = 0, message } = error;
  const said = message.replace(/\s+/g, ' ').slice(0, 300);
  const fault = responseCode >= 400 && responseCode < 500 ? 'machine' : 'user';
  if (code === 'EAUTH') return new StepFailure('notify.login', `the mail server refuses the login: ${said}`, 'mind the user and the password: berth notify:remove, then berth notify:add', fault, { cause: error });
  if (/certificate|self-signed|altname/i.test(message)) return new StepFailure('notify.certificate', `the mail server's certificate is not to be trusted: ${said}`, 'give it one that is, or name it as its certificate does', 'user', { cause: error });
  if (code === 'ETLS') return new StepFailure('notify.tls', `the mail server has no TLS: ${said}`, 'security=tls for port 465; security=none where there is none, and no password', fault, { cause: error });
  if (responseCode > 0) return new StepFailure('notify.smtp', `the mail server answered: ${said}`, null, fault, { cause: error });
  if (code === 'EENVELOPE') return new StepFailure('notify.address', said, null, 'user', { cause: error });
  return new StepFailure('notify.unreachable', late ? `the mail server took longer than ${WHOLE_MS / 1000} s` : `the mail server cannot be reached: ${said}`, null, 'machine', { cause: error });
}
