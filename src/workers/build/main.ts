import 'reflect-metadata';
import { join } from 'node:path';
import Docker from 'dockerode';
import { DockerDriver } from '../../drivers/engine/docker.driver.js';
import { BuildpackFetch } from '../../drivers/stack/buildpack-fetch.js';
import { buildCa, DockerSandbox } from '../../drivers/stack/sandbox.js';
import { stackImages } from '../../drivers/stack/stack.js';
import { classicBuild } from '../../plugins/builders/classic.runner.js';
import { stackFor } from '../detect/detect.step.js';
import { StepFailure } from '../../events/step.js';
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
  const build = buildStep({ engine, config, env, classic });
  return async (context) => {
    // without them the engine would look for images of these names on the internet, in a stranger's namespace
    if (context.input.plan.builder !== 'dockerfile') {
      for (const image of [stackImages().build, stackImages().run]) {
        if (!(await engine.inspectImage(image))) throw new StepFailure('build.no-stack', `the stack image ${image} is not on this machine`, 'make it again: deploy/bootstrap.sh', 'machine');
      }
    }
    context.log.info(`Building ${context.input.name} from ${context.input.plan.builder === 'dockerfile' ? 'its Dockerfile' : `the ${context.input.plan.buildpack} buildpack`}`);
    return build(context);
  };
});
