import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readLabels } from '../../drivers/engine/labels.js';
import type { VolumePort } from '../../drivers/engine/volume.port.js';
import { BullSchedules } from '../../drivers/queue/schedules.js';
import type { Report } from '../commands/report.js';
import type { Core } from '../core.js';
import { idleSpools, idleVolumes } from './leftovers.plan.js';
import { nextTime } from './schedule.js';
import { scheduled, Schedules } from './schedules.js';
import { spoolRoot } from './spool.js';
import { appOfGroup } from './subject.js';

const HOLDING = new Set(['backup', 'restore']);

/** What backups need of whoever leads: their times, and somebody who tidies up behind workers that died. */
export class BackupKeeper {
  private readonly schedules: Schedules;
  private readonly clock: BullSchedules;
  private turn: Promise<void> = Promise.resolve();

  constructor(private readonly core: Core, private readonly volumes: VolumePort, rings: () => void, private readonly report: Report) {
    this.schedules = new Schedules(core, report);
    this.clock = new BullSchedules(core.config.redis, core.config.instance, nextTime, rings, (error) => report('Redis (schedules)', error));
  }

  /** Sets the clock by the log, asks for what is due, removes what is left over. One at a time; never rejects. */
  look(): Promise<void> {
    const each = async (what: string, work: () => Promise<void>): Promise<void> => work().catch((error: unknown) => this.report(what, error));
    this.turn = this.turn.then(async () => {
      await each('schedules', () => this.schedules.fire());
      void each('schedules in Redis', async () => this.clock.set((await scheduled(this.core)).map(({ group, schedule }) => ({ key: group, pattern: schedule.cron, tz: schedule.zone })))); // while Redis is away it waits
      await each('spooled backups', () => this.sweepSpools());
      await each('volumes of backups', () => this.sweepVolumes());
      await each('held containers', () => this.goOn());
    });
    return this.turn;
  }

  /** Apps whose containers a worker may be holding still now. */
  async holding(): Promise<ReadonlySet<string>> {
    const { groups } = await this.core.works.now();
    return new Set(Object.entries(groups).flatMap(([group, { running, rows }]) => {
      const row = running === null ? undefined : rows.findLast((one) => one.operation === running);
      const app = appOfGroup(group);
      return app !== null && row && HOLDING.has(row.kind) ? [app] : [];
    }));
  }

  private async sweepSpools(): Promise<void> {
    const root = spoolRoot(this.core.config.root);
    const names = await readdir(root).catch((error: NodeJS.ErrnoException) => { if (error.code === 'ENOENT') return []; throw error; });
    if (names.length === 0) return;
    for (const name of idleSpools(names, await this.core.works.now(), this.core.now())) await rm(join(root, name), { recursive: true, force: true });
  }

  private async sweepVolumes(): Promise<void> {
    const { instance } = this.core.config;
    const all = await this.volumes.list({ instance });
    const special = all.map(({ name, labels }) => ({ name, marks: readLabels(labels) })).filter(({ marks }) => marks.drill !== undefined || marks.storage !== undefined);
    const found = special.map(({ name, marks }) => ({ name, app: marks.app ?? null, storage: marks.storage ?? null, drill: marks.drill ?? null }));
    for (const name of idleVolumes(found, await this.core.board.now(), await this.core.works.now(), this.core.now())) {
      if ((await this.volumes.users(name)).length === 0) await this.volumes.remove(name);
    }
  }

  /** A worker that was killed, or whose operation was cancelled, has left containers paused. */
  private async goOn(): Promise<void> {
    const { groups } = await this.core.works.now();
    const known = new Set(Object.keys(groups).flatMap((group) => appOfGroup(group) ?? []));
    if (known.size === 0) return;
    const holding = await this.holding();
    const { instance } = this.core.config;
    const paused = await this.volumes.paused({ instance });
    for (const { id, labels } of paused) {
      const { app } = readLabels(labels);
      if (app !== undefined && known.has(app) && !holding.has(app) && !this.core.held.has(id)) await this.volumes.unpause(id);
    }
  }

  async close(): Promise<void> {
    await this.turn;
    await this.clock.close();
  }
}
