import { Rejected } from '../../events/decider.js';
import { shown } from '../apps/app.decider.js';

/** what says whose and which: changing it would make another job of it */
const FIXED = new Set(['app', 'name', 'repo', 'sha', 'number', 'isNew', 'keep', 'source', 'remote', 'imageId', 'containers', 'retire', 'service', 'container', 'volume', 'network']);

function converted(path: string, text: string, before: unknown): unknown {
  switch (typeof before) {
    case 'string': return text;
    case 'boolean':
      if (text !== 'true' && text !== 'false') throw new Rejected('job.edit', `${path}=${shown(text)}: true or false is needed`);
      return text === 'true';
    case 'number': {
      const size = /^(\d+(?:\.\d+)?)([kmgt])$/i.exec(text);
      const value = size ? Number(size[1]) * 1024 ** ('kmgt'.indexOf(size[2]!.toLowerCase()) + 1) : Number(text);
      if (text === '' || !Number.isFinite(value) || value < 0) throw new Rejected('job.edit', `${path}=${shown(text)}: a number is needed, or a size such as 4g`);
      return value;
    }
    default:
      if (before === null) return text === '' ? null : text;
      if (Array.isArray(before) && before.every((item) => typeof item === 'string')) return text === '' ? [] : text.split(',');
      throw new Rejected('job.edit', `${path} is not a single value: name one of ${Object.keys(before as object).map((key) => `${path}.${key}`).join(', ')}`);
  }
}

/**
 * An input with some of its values changed: `limits.memory` → `4g`, `plan.buildArgs` → `RAILS_ENV,NODE_ENV`. Values take the type that they
 * had. Pure. @throws Rejected for a path that is not there, or that says which job this is
 */
export function editInput<I extends object>(input: I, edits: Readonly<Record<string, string>>): I {
  const edited = structuredClone(input) as unknown as Record<string, unknown>;
  for (const [path, text] of Object.entries(edits)) {
    const keys = path.split('.');
    if (FIXED.has(keys[0]!)) throw new Rejected('job.edit', `${path} cannot be changed: it says which job this is`);
    let at = edited;
    for (const [i, key] of keys.entries()) {
      if (!Object.hasOwn(at, key)) throw new Rejected('job.edit', `The input has no ${shown(path)}`, `it has: ${Object.keys(at).filter((k) => !FIXED.has(k)).map((k) => [...keys.slice(0, i), k].join('.')).join(', ')}`);
      if (i === keys.length - 1) at[key] = converted(path, text, at[key]);
      else if (typeof at[key] !== 'object' || at[key] === null) throw new Rejected('job.edit', `The input has no ${shown(path)}: ${keys.slice(0, i + 1).join('.')} is a single value`);
      else at = at[key] as Record<string, unknown>;
    }
  }
  return edited as unknown as I;
}
