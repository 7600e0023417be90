import { backupKinds } from '../copies/backup.kinds.js';
import { pushKind, PUSH_KIND } from '../hooks/push.kind.js';
import { webhookKind, WEBHOOK_KIND } from '../hooks/webhook.delivery.js';
import { notifyKind, NOTIFY_KIND } from '../notifications/notify.kind.js';
import { DELIVERY, deliveryKind } from '../plugins/delivery.kind.js';
import { SERVICE_KINDS } from '../services/service.operations.js';
import type { OperationKind } from './operation.kind.js';

/** Every kind of operation there is. */
const KINDS: Readonly<Record<string, OperationKind>> = { ...SERVICE_KINDS, ...backupKinds, [DELIVERY]: deliveryKind, [WEBHOOK_KIND]: webhookKind, [PUSH_KIND]: pushKind, [NOTIFY_KIND]: notifyKind };

export function kindOf(name: string): OperationKind {
  const kind = KINDS[name];
  if (!kind) throw new Error(`this Berth knows no operation ${name}`);
  return kind;
}
