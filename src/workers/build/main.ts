import 'reflect-metadata';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Docker from 'dockerode';
import type { BuildPlan } from '../../events/types/deploy.events.js';
import { packFolder } from '../../drivers/archive/folder-tar.js';
import { DockerDriver } from '../../drivers/engine/docker.driver.js';
import { BuildpackFetch } from '../../drivers/stack/buildpack-fetch.js';
import { buildCa, DockerSandbox } from '../../drivers/stack/sandbox.js';
import { StackImages } from '../../drivers/stack/stack-images.js';
import { stackImages, stackImagesIn } from '../../drivers/stack/stack.js';
import { classicBuilds } from '../../plugins/builders/classic/classic.runner.js';
import { externalBuild } from '../../plugins/builders/external/external.runner.js';
import { HostTools } from '../../drivers/tool/tool.driver.js';
import { withPluginBuildpacks } from './plugin-buildpacks.js';
import { stackFor } from '../detect/detect.step.js';
import { loginsOf } from '../../modules/registries/registry-access.js';
import { isForeign } from '../../plugins/builders/foreign.builder.js';
import { startWorker } from '../start.js';
import { buildStep } from './build.step.js';

await startWorker('build', (core, _, plugins) => {
  const { config } = core;
  const engine = new DockerDriver(config.dockerSocket, { logins: () => loginsOf(core) });
  const env = (app: string, version: number): Promise<Record<string, string>> => core.env(app, version);
  const packs = join(config.root, 'cache', 'buildpacks');
  const classic = classicBuilds({
    engine, env, stack: stackFor(), instance: config.instance, proxy: config.buildProxy, ca: () => buildCa(config.buildCa),
    sandbox: new DockerSandbox(new Docker({ socketPath: config.dockerSocket })), fetcher: withPluginBuildpacks(new BuildpackFetch(packs, { forbidden: [config.root, config.run] }), new BuildpackFetch(packs), plugins),
  });
  const stack = new StackImages(engine, fileURLToPath(new URL('./stack-build.mjs', import.meta.url)));
  const external = externalBuild({ engine, tools: new HostTools(), instance: config.instance, dockerSocket: config.dockerSocket, folder: join(config.root, 'cache', 'work'), packFolder, env });
  const third = (plan: BuildPlan): boolean => plan.builder === 'classic-buildpack' || plan.classic !== undefined;
  const stands = (plan: BuildPlan): string[] => {
    const { build: under, run } = plan.stack ?? stackImages();
    return [...new Set([...(third(plan) || plan.stack !== undefined ? [under, run] : []), ...stackImagesIn(plan.dockerfile ?? '')])];
  };
  const build = buildStep({ engine, config, env, mark: (text) => core.box.mark(text), classic, external, stackImages: stands });
  return async (context) => {
    const { plan } = context.input;
    if (plan.builder === 'image') return build(context);
    await stack.ensure(stands(plan), context.log, context.signal);
    const from = { dockerfile: 'its Dockerfile', image: 'an image', external: `its source with ${plan.buildpack}`, 'classic-buildpack': 'the buildpacks that it names', buildpack: `the ${plan.buildpack} ${isForeign(plan.buildpack ?? '') ? 'builder' : 'buildpack'}${plan.buildpack?.includes(', ') ? 's' : ''}${plan.classic ? ' and others' : ''}` };
    context.log.info(`Building ${context.input.name} from ${from[plan.builder]}`);
    return build(context);
  };
});
