import 'reflect-metadata';
import { DockerDriver } from '../../drivers/engine/docker.driver.js';
import { startWorker } from '../start.js';
import { releaseStep } from './release.step.js';

await startWorker('release', (core) => releaseStep({ engine: new DockerDriver(core.config.dockerSocket), config: core.config, env: (app, version) => core.env(app, version) }));
