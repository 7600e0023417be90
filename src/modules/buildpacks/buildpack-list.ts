import { Rejected } from '../../events/decider.js';
import { StepFailure } from '../../events/step.js';
import { MOST } from '../../plugins/builders/classic/named.js';
import { parseReference, shown, SOURCES, textOf } from '../../plugins/builders/classic/reference.js';

/** An app's list as the setting has it: one buildpack a line, null when there is none. Pure. */
export type BuildpackList = readonly string[];

/** A buildpack in its one spelling. @throws Rejected */
export function canonical(text: string): string {
  try { return textOf(parseReference(text, SOURCES.settings)); } catch (error) {
    if (error instanceof StepFailure) throw new Rejected('buildpacks.bad', `Invalid buildpack specified: ${error.message.replace(`${SOURCES.settings}: `, '')}`, error.hint);
    throw error;
  }
}

function checked(list: BuildpackList): BuildpackList {
  if (list.length > MOST) throw new Rejected('buildpacks.many', `An app can have at most ${MOST} buildpacks`, 'take one out first: buildpacks:remove');
  const twice = list.find((text, at) => list.indexOf(text) !== at);
  if (twice !== undefined) throw new Rejected('buildpacks.twice', `${shown(twice)} is in the list already`, 'see: berth buildpacks:list <app>');
  return list;
}

/** A place in the list, counted from 1. @throws Rejected */
function place(index: number, most: number): number {
  if (!Number.isInteger(index) || index < 1 || index > most) throw new Rejected('buildpacks.index', `--index ${index}: the list has places 1 to ${most}`, 'see: berth buildpacks:list <app>');
  return index - 1;
}

/** Puts one in at a place, the others move on; without a place at the end. */
export const added = (list: BuildpackList, text: string, index?: number): BuildpackList => checked(list.toSpliced(index === undefined ? list.length : place(index, list.length + 1), 0, canonical(text)));

/** Puts one in the place of another, the first unless said. */
export function replaced(list: BuildpackList, text: string, index = 1): BuildpackList { return checked(list.toSpliced(place(index, list.length + 1), 1, canonical(text))); }

export const whole = (texts: readonly string[]): BuildpackList => checked(texts.map(canonical));

/** Takes one out, by name or by place. */
export function removed(list: BuildpackList, text: string | undefined, index: number | undefined): BuildpackList {
  if ((text === undefined) === (index === undefined)) throw new Rejected('buildpacks.which', 'Say which buildpack: its name, or --index and its place', 'see: berth buildpacks:list <app>');
  if (list.length === 0) throw new Rejected('buildpacks.none', 'The app names no buildpacks');
  const at = text === undefined ? place(index!, list.length) : list.indexOf(canonical(text));
  if (at < 0) throw new Rejected('buildpacks.missing', `${shown(text!)} is not in the list`, 'see: berth buildpacks:list <app>');
  return list.toSpliced(at, 1);
}
