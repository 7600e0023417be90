import type { NewEvent } from './event.js';

type Upcaster = (data: never) => unknown;

/**
 * How an event of schema n becomes one of schema n + 1: `upcasters[type][n]`. Events keep the shape they were written in;
 * readers only ever see the newest. Add a row here whenever a shape changes, and a sample of the old one to `test/events/`.
 */
const upcasters: Readonly<Record<string, Readonly<Record<number, Upcaster>>>> = {
  RepairStarted: { 1: (data: object) => ({ ...data, by: 'deploy' }) },
};

/** The event in its newest shape. */
export function upcast<E extends NewEvent & { schema: number }>(event: E, table: Readonly<Record<string, Readonly<Record<number, Upcaster>>>> = upcasters): E {
  const steps = table[event.type];
  if (!steps) return event;
  let { schema, data } = event as { schema: number; data: unknown };
  for (let step = steps[schema]; step; step = steps[schema]) {
    data = step(data as never);
    schema += 1;
  }
  return { ...event, schema, data };
}
