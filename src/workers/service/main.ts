import 'reflect-metadata';
import { DockerDriver } from '../../drivers/engine/docker.driver.js';
import { DockerVolumeDriver } from '../../drivers/engine/docker.volume.driver.js';
import type { Sealed } from '../../events/sealed.js';
import { DELIVERY } from '../../modules/plugins/delivery.kind.js';
import { GitDriver } from '../../drivers/git/git.driver.js';
import { look, PUSH_KIND } from '../../modules/hooks/push.kind.js';
import { deliver as call, WEBHOOK_KIND } from '../../modules/hooks/webhook.delivery.js';
import { NOTIFY_KIND } from '../../modules/notifications/notify.kind.js';
import { send } from '../../modules/notifications/send.js';
import { typeOf, type TypeName } from '../../modules/services/type-of.js';
import { accessOf } from '../../modules/sources/git-access.js';
import { startOperations } from '../start.js';
import { backupWorks } from './backup/backup.works.js';
import { deliver } from './deliver.js';
import { serviceWorks } from './service.works.js';

await startOperations((core, report, plugins) => {
  const { dockerSocket, instance } = core.config;
  const volumes = new DockerVolumeDriver(dockerSocket, instance, process.env['BERTH_WORKER_NAME'] ?? 'service-1');
  core.volumes = volumes;
  volumes.tidy().catch((error: unknown) => report('what a worker of this name left in the engine', error));
  const { config, box, now } = core;
  const services = { engine: new DockerDriver(config.dockerSocket), volumes, config, unseal: (sealed: Sealed) => box.unseal(sealed), typeOf: (name: TypeName) => typeOf(core, name), now };
  const git = new GitDriver({ root: config.root, gitUser: config.gitUser, access: () => accessOf(core) });
  return { ...serviceWorks(services), ...backupWorks(core, volumes, services), [DELIVERY]: { deliver: deliver(core, plugins) }, [WEBHOOK_KIND]: { deliver: call(core) }, [PUSH_KIND]: { look: look(git) }, [NOTIFY_KIND]: { send: send(core, plugins) } };
});
