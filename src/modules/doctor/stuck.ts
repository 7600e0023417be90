import type { WorkRow } from '../../events/store.port.js';
import type { Works } from '../operations/works.projection.js';
import type { Board } from '../read/board.projection.js';

/** ms that work may lie about with nobody at it before something is wrong: a dead worker's lease and the relay's patience are well below */
export const STUCK_AFTER_MS = 60_000;

export interface Stuck { readonly app: string; readonly deploy: number | null; readonly job: string; readonly why: string }

/**
 * Deploys and operations that no one is going to bring to an end, as far as the log and the work rows tell: it must always be empty. Pure.
 * `open` are the rows that are neither done nor dropped.
 */
export function stuck(board: Readonly<Board>, works: Readonly<Works>, open: readonly WorkRow[], now: number): Stuck[] {
  const found: Stuck[] = [];
  const groups = new Map<string, WorkRow[]>();
  for (const row of open) groups.set(row.group, [...(groups.get(row.group) ?? []), row]);
  for (const app of Object.values(board.apps)) {
    const deploys = board.deploys[app.id] ?? [];
    const running = app.running === null ? undefined : deploys[app.running - 1];
    const step = running?.steps.at(-1);
    const since = step?.startedAt ?? step?.queuedAt ?? running?.startedAt ?? now;
    if (running && !groups.has(app.id) && now - since > STUCK_AFTER_MS) found.push({ app: app.name, deploy: running.deploy, job: step?.job ?? '', why: 'it runs, but there is no work row for it' });
    if (!running) {
      const waiting = deploys.find((d) => d.status === 'waiting' && now - d.requestedAt > STUCK_AFTER_MS);
      if (waiting) found.push({ app: app.name, deploy: waiting.deploy, job: '', why: 'it waits, but nothing runs that it could wait for' });
    }
  }
  for (const [group, { running, rows }] of Object.entries(works.groups)) {
    const row = rows.findLast((one) => one.operation === running);
    const step = row?.steps.at(-1);
    if (row && !groups.has(group) && now - (step?.startedAt ?? step?.queuedAt ?? now) > STUCK_AFTER_MS) found.push({ app: row.subject, deploy: null, job: step?.job ?? '', why: 'it runs, but there is no work row for it' });
    const waiting = running === null ? rows.find((one) => one.status === 'waiting' && now - one.requestedAt > STUCK_AFTER_MS) : undefined;
    if (waiting) found.push({ app: waiting.subject, deploy: null, job: '', why: `operation ${waiting.operation} waits, but nothing runs that it could wait for` });
  }
  for (const [group, rows] of groups) {
    const head = rows.toSorted((a, b) => a.addedAt - b.addedAt)[0]!;
    const name = board.apps[group]?.name ?? works.groups[group]?.rows.at(-1)?.subject ?? group;
    const due = Math.max(head.addedAt, head.notBefore);
    if (head.state === 'todo' && now - due > STUCK_AFTER_MS) found.push({ app: name, deploy: null, job: head.id, why: `due for ${Math.round((now - due) / 1000)} s, and not handed to a queue` });
    if (head.state === 'dispatched' && head.leaseUntil < now - STUCK_AFTER_MS && now - head.dispatchedAt > STUCK_AFTER_MS) found.push({ app: name, deploy: null, job: head.id, why: `handed out ${Math.round((now - head.dispatchedAt) / 1000)} s ago, and nobody has it` });
  }
  return found;
}
