import { Relay, ticketId } from '../../src/modules/conductor/relay.js';
import type { Mutant } from './run.js';

/** The relay without its second look. */
const blindRelay: Mutant['relay'] = (relay) => Object.assign(Object.create(relay) as Relay, { pump: () => relay.pump(), reconcile: async () => 0 });
const YEAR = 365 * 24 * 3_600_000;

/** Bugs of the kinds that deploy engines are known for (an unfenced append, a lost wake-up, a double switch), planted one at a time; each must be found. */
export const MUTANTS: readonly Mutant[] = [
  {
    // §2.3: a late report is appended whoever has the work now, and counts
    name: 'unfenced append: neither the owner nor the attempt of a report is looked at', weights: { stall: 40 },
    db: (db) => { db.tamper = (tx, row) => (tx.finish && row(tx.finish.id)?.owner ? { ...tx, finish: { ...tx.finish, owner: row(tx.finish.id)!.owner! } } : tx); },
    decide: (command, state, right) => right((command.type === 'Complete' || command.type === 'Fail') && state.running ? { ...command, attempt: state.running.attempt } : command, state),
  },
  {
    name: 'late report accepted by the decider, after its claim failed or was taken over',
    decide: (command, state, right) => right((command.type === 'Complete' || command.type === 'Fail') && state.running ? { ...command, job: state.running.job, attempt: state.running.attempt } : command, state.running ? { ...state, running: { ...state.running, claimed: true } } : state),
    db: (db) => { db.tamper = (tx) => { const { finish: _, ...rest } = tx; return rest; }; },
  },
  {
    // §2.1, §2.3: Redis is believed
    name: 'lost wake-up: what Redis lost is not looked for',
    relay: blindRelay,
  },
  {
    name: 'marked as handed out before it is handed out, and never looked for',
    relay: (relay, { store, queue, now }) => Object.assign(Object.create(relay) as Relay, {
      reconcile: async () => 0,
      pump: async () => {
        const rows = await store.dispatchable(now(), 200);
        await store.markDispatched(rows.map(({ id, dispatch }) => ({ id, dispatch })), now());
        await queue.dispatch(rows.map((row) => ({ queue: row.queue, jobId: ticketId(row), id: row.id })));
        return rows.length;
      },
    }),
  },
  { name: 'double switch: an attempt that lost the work goes on switching', unfenced: true, weights: { stall: 40 }, within: 2500 },
  { name: 'switched before it was seen', ground: { blind: true } },
  {
    // §2.11: a lock without an end
    name: 'a lease never ends',
    leaseMs: YEAR, db: (db) => { db.tamperHeartbeat = () => YEAR; },
  },
  { name: 'long leases that are not given back', leaseMs: 180_000, db: (db) => { db.noGiveBack = true; } },
  {
    name: 'a claim does not look at the lease',
    db: (db) => { db.tamper = (tx, row) => { const held = tx.claim && row(tx.claim.id); if (held) db.put({ ...held, leaseUntil: 0 }); return tx; }; },
  },
  {
    name: 'one ticket, one owner: two claims of one process are not told apart (seed 150)',
    db: (db) => { db.tamper = (tx) => ({ ...tx, ...(tx.claim && { claim: { ...tx.claim, owner: tx.claim.owner.replace(/\.\d+$/, '') } }), ...(tx.finish && { finish: { ...tx.finish, owner: tx.finish.owner.replace(/\.\d+$/, '') } }) }); },
  },
  { name: 'the sweeper takes the containers of a deploy under way', blindSweep: true },
  {
    name: 'tried again without a work row',
    db: (db) => { db.tamper = (tx) => (tx.appends.some((a) => a.events.some((e) => e.type === 'JobRetried')) ? { ...tx, work: [] } : tx); },
  },
  {
    name: 'a machine fault adds no work row',
    db: (db) => { db.tamper = (tx) => (tx.appends.some((a) => a.events.some((e) => e.type === 'StepFailed')) && !tx.appends.some((a) => a.events.some((e) => e.type === 'StepQueued')) ? { ...tx, work: [] } : tx); },
  },
  {
    // §2.5
    name: 'a cancel leaves the work row', within: 1500,
    db: (db) => { db.tamper = (tx) => ({ ...tx, drop: [] }); },
  },
  {
    name: 'what was superseded is not ended',
    decide: (command, state, right) => right(command, state).filter((e) => command.type !== 'Request' || e.type !== 'DeploySuperseded'),
  },
  {
    // §2.4
    name: 'two deploys of an app at once',
    decide: (command, state, right) => right(command, command.type === 'Request' ? { ...state, running: null } : state),
  },
  {
    name: 'the work row is written after the events, in a transaction of its own',
    db: (db, world) => {
      db.tamper = (tx) => {
        if (!tx.work?.length) return tx;
        const { work, ...rest } = tx;
        // its process may be dead by then
        if (!world.rng.chance(0.02)) world.after(1, () => { for (const item of work) if (!db.rows.has(item.id)) db.transact({ appends: [], meta: tx.meta, now: world.now, work: [item] }, 'late'); });
        return rest;
      };
    },
  },
  { name: 'no heartbeat is heard: whoever lost the work never learns it', deafHeart: true },
  {
    name: 'a failure forgets what waits',
    decide: (command, state, right) => {
      const events = right(command, state);
      const at = events.findIndex((e) => e.type === 'DeployFailed');
      return command.type === 'Fail' && at >= 0 ? events.slice(0, at + 1) : events;
    },
  },
  {
    name: 'streams that were only looked at may change: an app is destroyed while it is asked to deploy (seed 4053)',
    db: (db) => { db.tamper = (tx) => ({ ...tx, appends: tx.appends.filter((a) => a.events.length > 0) }); },
  },
];

