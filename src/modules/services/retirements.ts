import type { Core } from '../core.js';
import { change, operationsStream } from '../draft.js';
import { operations } from '../operations/operation.decider.js';
import { operate } from '../operations/operations.service.js';
import { failedRetirement, holdsOf } from './password-users.js';
import { services, type ServiceState } from './service.decider.js';
import { serviceStream } from './service-names.js';

const ACTOR = 'system:passwords';

const retirable = ({ former, status, wanted, container }: Pick<ServiceState, 'former' | 'status' | 'wanted' | 'container'>): boolean => former !== null && status === 'live' && wanted === 'running' && container !== null;

/** Shuts logins of before out when nobody has them any more. Where it stands is in the log: whoever looks, once or twice, asks once. */
export class Retirements {
  constructor(private readonly core: Core) {}

  async check(): Promise<void> {
    const { core } = this;
    if (!core.engine) return;
    const { rows } = await core.services.now();
    for (const row of Object.values(rows)) {
      if (!retirable(row)) continue;
      const works = await core.works.now();
      // one that failed is tried again by whoever has mended what was wrong
      if ((works.groups[row.id]?.running ?? null) !== null || failedRetirement(works, row.id)) continue;
      if ((await holdsOf(core, row)).length > 0) continue;
      await change({ core, actor: ACTOR }, 'retire', row.id, async (draft) => {
        if (!retirable((await draft.load(services, serviceStream(row.id))).state)) return;
        const { running, waiting } = (await draft.load(operations, operationsStream(row.id))).state;
        if ([running, ...waiting].some((each) => each?.kind === 'service-retire')) return;
        await operate(draft, row.id, { kind: 'service-retire', subject: `${row.type} ${row.name}`, input: { service: row.id }, by: ACTOR });
      });
    }
  }
}
