import type { HealthCheck } from '../../events/types/deploy.events.js';
import { StepFailure } from '../../events/step.js';

export interface AppJson {
  readonly check: HealthCheck;
  /** `formation.<type>.quantity`; parsed, nobody uses it yet */
  readonly formation: Readonly<Record<string, number>>;
  /** `buildpacks[].url` */
  readonly buildpacks: readonly string[];
}

/** An answering port is enough; the times are Dokku's (timeout 5 s, 3 attempts, 5 s between them) with more, shorter waits. */
export const DEFAULT_CHECK: HealthCheck = Object.freeze({ path: null, timeoutMs: 4000, attempts: 12, waitMs: 1000 });
export const NO_APP_JSON: AppJson = Object.freeze({ check: DEFAULT_CHECK, formation: {}, buildpacks: [] });

/** Removes comments and trailing commas outside of strings; positions and line numbers stay. */
export function stripJsonc(text: string): string {
  const out = [...text.replace(/^\uFEFF/, '')];
  let comma = -1;
  for (let i = 0; i < out.length; i++) {
    const c = out[i]!;
    if (c === '"') {
      for (i++; i < out.length && out[i] !== '"'; i++) if (out[i] === '\\') i++;
      comma = -1;
    } else if (c === '/' && out[i + 1] === '/') {
      for (; i < out.length && out[i] !== '\n'; i++) out[i] = ' ';
    } else if (c === '/' && out[i + 1] === '*') {
      const from = i;
      for (i += 2; i < out.length && !(out[i] === '*' && out[i + 1] === '/'); i++);
      i = Math.min(i + 1, out.length - 1);
      for (let at = from; at <= i; at++) if (out[at] !== '\n') out[at] = ' ';
    } else if (c === ',') comma = i;
    else if (c === '}' || c === ']') { if (comma >= 0) out[comma] = ' '; comma = -1; }
    else if (!/\s/.test(c)) comma = -1;
  }
  return out.join('');
}

const record = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Reads app.json (JSON with comments and trailing commas). Keys that we do not know are left alone.
 * @throws StepFailure `detect.app-json` that says which key is wrong
 */
export function parseAppJson(text: string, path = 'app.json'): AppJson {
  const fail = (why: string): never => { throw new StepFailure('detect.app-json', `${path}: ${why}`, 'https://json.org with // comments and trailing commas; times are seconds'); };
  let root: unknown;
  try { root = JSON.parse(stripJsonc(text)); } catch (error) { return fail((error as Error).message); }
  if (!record(root)) return fail('an object is needed');
  const seconds = (value: unknown, key: string, fallback: number): number => {
    if (value === undefined) return fallback;
    if (typeof value !== 'number' || !Number.isFinite(value) || value < 0 || value > 3600) return fail(`${key} is a number of seconds from 0 to 3600`);
    return Math.round(value * 1000);
  };

  let check: HealthCheck = DEFAULT_CHECK;
  const checks = root['healthchecks'];
  if (checks !== undefined && !record(checks)) fail('healthchecks is an object: process type → list of checks');
  const web = record(checks) ? checks['web'] : undefined;
  if (web !== undefined && !Array.isArray(web)) fail('healthchecks.web is a list');
  const all: unknown[] = Array.isArray(web) ? web : [];
  const first = all.find((item) => record(item) && (item['type'] === 'startup' || item['type'] === undefined)) ?? all[0];
  if (first !== undefined) {
    if (!record(first)) return fail('healthchecks.web[0] is an object');
    const where = first['path'];
    if (where !== undefined && (typeof where !== 'string' || !/^\/[^\s\0]*$/.test(where))) fail('healthchecks.web[0].path is a path that starts with /');
    const attempts = first['attempts'] ?? DEFAULT_CHECK.attempts;
    if (typeof attempts !== 'number' || !Number.isInteger(attempts) || attempts < 1 || attempts > 1000) return fail('healthchecks.web[0].attempts is a whole number from 1 to 1000');
    check = {
      path: typeof where === 'string' ? where : null,
      timeoutMs: seconds(first['timeout'], 'healthchecks.web[0].timeout', DEFAULT_CHECK.timeoutMs) || DEFAULT_CHECK.timeoutMs,
      attempts,
      waitMs: seconds(first['wait'], 'healthchecks.web[0].wait', DEFAULT_CHECK.waitMs),
    };
  }

  const formation: Record<string, number> = {};
  if (root['formation'] !== undefined) {
    if (!record(root['formation'])) return fail('formation is an object: process type → {quantity}');
    for (const [type, value] of Object.entries(root['formation'])) {
      const quantity = record(value) ? value['quantity'] : undefined;
      if (quantity === undefined) continue;
      if (typeof quantity !== 'number' || !Number.isInteger(quantity) || quantity < 0) return fail(`formation.${type}.quantity is a whole number`);
      formation[type] = quantity;
    }
  }
  const packs = root['buildpacks'];
  const buildpacks = Array.isArray(packs) ? packs.flatMap((item) => (record(item) && typeof item['url'] === 'string' ? [item['url']] : [])) : [];
  return { check, formation, buildpacks };
}
