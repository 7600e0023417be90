import { backupKinds } from '../copies/backup.kinds.js';
import { DELIVERY, deliveryKind } from '../plugins/delivery.kind.js';
import { SERVICE_KINDS } from '../services/service.operations.js';
import type { OperationKind } from './operation.kind.js';

/** Every kind of operation there is. */
const KINDS: Readonly<Record<string, OperationKind>> = { ...SERVICE_KINDS, ...backupKinds, [DELIVERY]: deliveryKind };

export function kindOf(name: string): OperationKind {
  const kind = KINDS[name];
  if (!kind) throw new Error(`this Berth knows no operation ${name}`);
  return kind;
}
