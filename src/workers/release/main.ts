import 'reflect-metadata';
import { DockerDriver } from '../../drivers/engine/docker.driver.js';
import { DockerVolumeDriver } from '../../drivers/engine/docker.volume.driver.js';
import { startWorker } from '../start.js';
import { releaseStep } from './release.step.js';

await startWorker('release', (core) => {
  const release = releaseStep({ engine: new DockerDriver(core.config.dockerSocket), config: core.config, env: (app, version) => core.env(app, version), volumes: new DockerVolumeDriver(core.config.dockerSocket, core.config.instance) });
  return async (context) => {
    const { name, number, isNew } = context.input;
    context.log.info(`Releasing ${name} v${number}${isNew ? '' : ' again'}`);
    return release(context);
  };
});
