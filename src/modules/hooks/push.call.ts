import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Provider } from '../../events/types/webhook.events.js';

type Headers = Readonly<Record<string, string | string[] | undefined>>;
/** A call as its sender means it. */
export interface PushCall { readonly delivery: string; readonly event: string; readonly ref: string; readonly commit: string; readonly repository: string; /** the branch or tag went away */ readonly deleted: boolean }

const one = (headers: Headers, name: string): string => { const value = headers[name]; return typeof value === 'string' ? value : ''; };

/** In constant time, whatever the lengths. */
const equal = (a: string, b: string): boolean => timingSafeEqual(createHash('sha256').update(a).digest(), createHash('sha256').update(b).digest());
const hmac = (secret: string, body: Buffer): string => createHmac('sha256', secret).update(body).digest('hex');

/** Whether who sent it knows the secret: GitHub and Gitea sign the body, GitLab shows a token. */
export function isGenuine(provider: Provider, headers: Headers, body: Buffer, secret: string): boolean {
  switch (provider) {
    case 'github': return equal(one(headers, 'x-hub-signature-256'), `sha256=${hmac(secret, body)}`);
    case 'gitea': return equal(one(headers, 'x-gitea-signature').toLowerCase() || one(headers, 'x-hub-signature-256').replace(/^sha256=/, ''), hmac(secret, body));
    case 'gitlab': return equal(one(headers, 'x-gitlab-token'), secret);
  }
}

const EVENT = { github: 'x-github-event', gitea: 'x-gitea-event', gitlab: 'x-gitlab-event' } as const;
const DELIVERY = { github: ['x-github-delivery'], gitea: ['x-gitea-delivery'], gitlab: ['idempotency-key', 'x-gitlab-event-uuid'] } as const;

interface Payload { readonly ref?: unknown; readonly after?: unknown; readonly deleted?: unknown; readonly repository?: { readonly full_name?: unknown }; readonly project?: { readonly path_with_namespace?: unknown } }
const text = (value: unknown, max: number): string => (typeof value === 'string' ? value.slice(0, max) : '');

/**
 * The call in one shape; null when its body is no object of JSON (or no form with `payload`, GitHub's other way of sending it). A call without an
 * id of its own is known by its body.
 */
export function readCall(provider: Provider, headers: Headers, body: Buffer): PushCall | null {
  let payload: Payload;
  try {
    const form = one(headers, 'content-type').startsWith('application/x-www-form-urlencoded');
    payload = JSON.parse(form ? (new URLSearchParams(body.toString('utf8')).get('payload') ?? '') : body.toString('utf8')) as Payload;
  } catch {
    return null;
  }
  if (typeof payload !== 'object' || payload === null) return null;
  const id = DELIVERY[provider].map((name) => one(headers, name)).find((value) => /^[\x21-\x7e]{1,100}$/.test(value));
  const commit = text(payload.after, 64);
  return {
    delivery: id ?? createHash('sha256').update(body).digest('hex').slice(0, 32), event: text(one(headers, EVENT[provider]), 60).toLowerCase().replace(/ hook$/, ''),
    ref: text(payload.ref, 250), commit: /^[0-9a-f]{40,64}$/.test(commit) ? commit : '',
    repository: text(provider === 'gitlab' ? payload.project?.path_with_namespace : payload.repository?.full_name, 250), deleted: payload.deleted === true || /^0{40,64}$/.test(commit),
  };
}

/** `team/blog` of `https://git.example.com/team/blog.git` or `git@git.example.com:team/blog`. */
export function pathOf(url: string): string {
  const path = URL.canParse(url) ? new URL(url).pathname : url.slice(url.indexOf(':') + 1);
  return path.replace(/^\/+|\/+$/g, '').replace(/\.git$/, '').toLowerCase();
}

/** Why a genuine call deploys nothing; null: it may. Pure. */
export function whyNot(call: PushCall, hook: { readonly url: string; readonly branch: string }): string | null {
  if (call.event === 'ping') return 'a ping: the hook works';
  if (call.event !== 'push') return `a ${call.event || 'nameless'} event: only pushes deploy`;
  if (call.repository.toLowerCase() !== pathOf(hook.url)) return `a push to ${call.repository || 'a nameless repository'}: this app deploys ${pathOf(hook.url)}`;
  if (!call.ref.startsWith('refs/heads/')) return `a push to ${call.ref || 'nothing'}: only branches deploy`;
  if (call.ref !== `refs/heads/${hook.branch}`) return `a push to ${call.ref.slice(11)}: this app deploys ${hook.branch}`;
  if (call.deleted) return `${hook.branch} was deleted`;
  return null;
}
