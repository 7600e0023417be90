import 'reflect-metadata';
import { DockerDriver } from '../../drivers/engine/docker.driver.js';
import { startWorker } from '../start.js';
import { buildStep } from './build.step.js';

await startWorker('build', (core) => buildStep({ engine: new DockerDriver(core.config.dockerSocket), config: core.config, env: (app, version) => core.env(app, version) }));
