/** Something of a plugin that is not as it must be: which field, what is wrong, and what to do. */
export interface Problem { readonly field: string; readonly what: string; readonly fix: string }

type Shape = 'text' | 'number' | 'boolean' | 'list' | 'object';

const isShape: Readonly<Record<Shape, (value: unknown) => boolean>> = {
  text: (value) => typeof value === 'string', number: (value) => typeof value === 'number' && Number.isFinite(value), boolean: (value) => typeof value === 'boolean',
  list: Array.isArray, object: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
};
const shapeOf = (value: unknown): string => (value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value === 'string' ? 'text' : typeof value === 'object' ? 'an object' : `a ${typeof value}`);
/** Somebody else's text in a message of ours. */
export const quoted = (value: unknown, max = 60): string => {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > max ? `${text.slice(0, max)}…` : text;
};

/** what could write elsewhere on a terminal */
const UNPRINTABLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]|^[^]{1001}/;

/** Reads JSON that a stranger wrote, and collects everything that is wrong with it. Pure. */
export class Reader {
  readonly problems: Problem[] = [];

  /** @param printed texts are shown as they are, and must be harmless */
  constructor(private readonly printed = false) {}

  fail(field: string, what: string, fix: string): void {
    this.problems.push({ field, what, fix });
  }

  /** The value, or undefined (and a problem) when it is not of that shape. `optional`: absent is no problem. */
  take<T>(of: Readonly<Record<string, unknown>>, field: string, at: string, shape: Shape, fix: string, optional = false): T | undefined {
    const value = of[field];
    const path = at === '' ? field : `${at}.${field}`;
    if (value === undefined) {
      if (!optional) this.fail(path, 'is missing', fix);
      return undefined;
    }
    if (this.printed && shape === 'text' && typeof value === 'string' && UNPRINTABLE.test(value)) this.fail(path, 'has characters that cannot be printed, or is longer than 1000', fix);
    if (isShape[shape](value)) return value as T;
    this.fail(path, `is ${shapeOf(value)}`, fix);
    return undefined;
  }

  object(value: unknown, field: string, fix: string): Readonly<Record<string, unknown>> | null {
    if (isShape.object(value)) return value as Record<string, unknown>;
    this.fail(field, `is ${shapeOf(value)}`, fix);
    return null;
  }

  /** A list of texts that each are of the form. */
  texts(value: unknown, field: string, form: RegExp, fix: string): string[] {
    if (!Array.isArray(value)) {
      this.fail(field, `is ${shapeOf(value)}`, fix);
      return [];
    }
    value.forEach((each, i) => { if (typeof each !== 'string' || !form.test(each)) this.fail(`${field}[${i}]`, `is ${quoted(each)}`, fix); });
    return value.filter((each): each is string => typeof each === 'string');
  }

  /** name → text, names and texts of their form. */
  pairs(value: unknown, field: string, name: RegExp, fix: string): Record<string, string> {
    const object = this.object(value, field, fix);
    for (const [key, each] of Object.entries(object ?? {})) {
      if (!name.test(key)) this.fail(`${field}.${key.slice(0, 60)}`, 'is not a name that can stand there', fix);
      else if (typeof each !== 'string') this.fail(`${field}.${key}`, `is ${shapeOf(each)}`, fix);
    }
    return Object.fromEntries(Object.entries(object ?? {}).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
  }

  /** Keys that nobody knows are mistakes, most of them of spelling. */
  only(of: Readonly<Record<string, unknown>>, at: string, known: readonly string[]): void {
    for (const key of Object.keys(of)) {
      const path = at === '' ? key : `${at}.${key}`;
      if (!known.includes(key)) this.fail(path.slice(0, 80), 'is not known', `known are: ${known.join(', ')}`);
    }
  }
}

/** One line a problem. */
export const tellProblem = ({ field, what, fix }: Problem): string => `${field === '' ? 'it' : field} ${what}: ${fix}`;
