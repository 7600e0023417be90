import 'reflect-metadata';
import { DockerDriver } from '../../drivers/engine/docker.driver.js';
import { DockerVolumeDriver } from '../../drivers/engine/docker.volume.driver.js';
import { PluginDriver } from '../../drivers/plugin/plugin.driver.js';
import { DELIVERY } from '../../modules/plugins/delivery.kind.js';
import { Plugins } from '../../modules/plugins/plugins.service.js';
import { BUNDLED } from '../../plugins/bundled.js';
import { startOperations } from '../start.js';
import { deliver } from './deliver.js';
import { serviceWorks } from './service.works.js';

await startOperations((core) => {
  const plugins = new Plugins(core, new PluginDriver(), BUNDLED);
  const { config, box, now } = core;
  const services = serviceWorks({ engine: new DockerDriver(config.dockerSocket), volumes: new DockerVolumeDriver(config.dockerSocket, config.instance), config, unseal: (sealed) => box.unseal(sealed), now });
  return { ...services, [DELIVERY]: { deliver: deliver(core, plugins) } };
});
