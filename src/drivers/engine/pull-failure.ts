import { StepFailure } from '../../events/step.js';
import { serverOf } from './registry-login.js';

/** What the engine's words about a pull mean. Pure. */
export function pullFailure(reference: string, words: string, status: number | null = null): StepFailure {
  const text = words.replace(/\s+/g, ' ').trim();
  const fail = (code: string, why: string, hint: string, fault: 'user' | 'machine' = 'user'): StepFailure => new StepFailure(code, `the image ${reference} cannot be had: ${why}`, hint, fault);
  if (/no such host|server misbehaving/i.test(text)) return fail('image.no-registry', text, 'its registry cannot be found from this server; an image can be brought without one: docker save IMAGE | berth git:load-image <app> IMAGE');
  if (/invalid reference|invalid (tag|repository)|must be lowercase/i.test(text)) return fail('image.name', text, 'a name such as nginx:1.27 or registry.example/team/shop@sha256:…');
  if (/no space left/i.test(text)) return fail('image.disk-full', text, 'make room on the server: see berth doctor', 'machine');
  if (/no matching manifest/i.test(text)) return fail('image.platform', text, 'it was not made for this kind of machine');
  if (status === 404 || /not found|manifest unknown|denied|unauthorized|no basic auth credentials|authentication required/i.test(text)) {
    return fail('image.refused', text, `is the name right? For a private registry give its login (or a new one): berth registry:login ${serverOf(reference)} <username>; or bring it: docker save IMAGE | berth git:load-image <app> IMAGE`);
  }
  return fail('image.registry', text, 'it is tried again by itself; an image can be brought without a registry: docker save IMAGE | berth git:load-image <app> IMAGE', 'machine');
}
