import 'reflect-metadata';
import { PluginDriver } from '../../drivers/plugin/plugin.driver.js';
import { DELIVERY } from '../../modules/plugins/delivery.kind.js';
import { Plugins } from '../../modules/plugins/plugins.service.js';
import { BUNDLED } from '../../plugins/bundled.js';
import { startOperations } from '../start.js';
import { deliver } from './deliver.js';

await startOperations((core) => {
  const plugins = new Plugins(core, new PluginDriver(), BUNDLED);
  return { [DELIVERY]: { deliver: deliver(core, plugins) } };
});
