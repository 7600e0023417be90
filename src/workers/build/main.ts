import 'reflect-metadata';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Docker from 'dockerode';
import { DockerDriver } from '../../drivers/engine/docker.driver.js';
import { BuildpackFetch } from '../../drivers/stack/buildpack-fetch.js';
import { buildCa, DockerSandbox } from '../../drivers/stack/sandbox.js';
import { StackImages } from '../../drivers/stack/stack-images.js';
import { stackImages, stackImagesIn } from '../../drivers/stack/stack.js';
import { classicBuild } from '../../plugins/builders/classic/classic.runner.js';
import { stackFor } from '../detect/detect.step.js';
import { startWorker } from '../start.js';
import { buildStep } from './build.step.js';

await startWorker('build', (core) => {
  const { config } = core;
  const engine = new DockerDriver(config.dockerSocket);
  const env = (app: string, version: number): Promise<Record<string, string>> => core.env(app, version);
  const classic = classicBuild({
    engine, env, stack: stackFor(), instance: config.instance, proxy: config.buildProxy, ca: () => buildCa(config.buildCa),
    sandbox: new DockerSandbox(new Docker({ socketPath: config.dockerSocket })), fetcher: new BuildpackFetch(join(config.root, 'cache', 'buildpacks')),
  });
  const stack = new StackImages(engine, fileURLToPath(new URL('./stack-build.mjs', import.meta.url)));
  const build = buildStep({ engine, config, env, classic });
  return async (context) => {
    const { plan } = context.input;
    if (plan.builder !== 'dockerfile') await stack.ensure(plan.dockerfile === null ? [stackImages().build, stackImages().run] : stackImagesIn(plan.dockerfile), context.log, context.signal);
    context.log.info(`Building ${context.input.name} from ${plan.builder === 'dockerfile' ? 'its Dockerfile' : `the ${plan.buildpack} buildpack`}`);
    return build(context);
  };
});
