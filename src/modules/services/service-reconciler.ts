import type { ContainerSummary, EnginePort } from '../../drivers/engine/engine.port.js';
import { readLabels } from '../../drivers/engine/labels.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import { drift } from '../drift/drift.decider.js';
import { driftStream } from '../drift/reconciler.js';
import { operate } from '../operations/operations.service.js';
import { serviceFindings, strayContainers, type ServiceContainerSeen } from './service-sweep.plan.js';

const ACTOR = 'system:reconciler';

export const ofServices = (containers: readonly ContainerSummary[]): ServiceContainerSeen[] => containers.flatMap(({ id, state, labels }) => {
  const { service, type } = readLabels(labels);
  return service === undefined || type === undefined ? [] : [{ id, state, service, type }];
});

/** Services compared with the log: what stopped is started, what is gone made anew by an operation, with the back-off that apps have. */
export class ServiceReconciler {
  constructor(private readonly core: Core, private readonly engine: Pick<EnginePort, 'startContainer'>) {}

  /** @param seen the engine's list, taken before this call. Answers the containers that belong to nobody */
  async check(seen: readonly ServiceContainerSeen[]): Promise<string[]> {
    const { core } = this;
    const all = await core.services.now();
    const { groups } = await core.works.now();
    const drifts = await core.drifts.now();
    const busy = (service: string): boolean => (groups[service]?.running ?? null) !== null;
    for (const row of Object.values(all.rows)) {
      const findings = serviceFindings(row, seen);
      if (findings.length === 0 && Object.keys(drifts[row.id]?.open ?? {}).length === 0) continue;
      const { answer } = await change({ core, actor: ACTOR }, 'reconcile', row.id, async (draft) => {
        const events = await draft.decide(drift, driftStream(row.id), { type: 'Observe', app: row.id, findings, now: core.now(), busy: busy(row.id) });
        const repair = events.find((event) => event.type === 'RepairStarted');
        if (repair?.data.by !== 'deploy') return repair?.data.subjects ?? [];
        const itself = repair.data.subjects.includes('service.1');
        await operate(draft, row.id, { kind: itself ? 'service-replace' : 'service-expose', subject: `${row.type} ${row.name}`, input: { service: row.id, ...(!itself && { ports: row.exposed }) }, by: ACTOR });
        return [];
      });
      const ids = answer.flatMap((subject) => (subject === 'service.1' ? [row.container!.id] : seen.filter(({ service, type }) => service === row.id && type === 'ambassador').map(({ id }) => id)));
      if (!busy(row.id)) for (const id of ids) await this.engine.startContainer(id);
    }
    return strayContainers(all, busy, seen);
  }
}
