import 'reflect-metadata';
import { pluginBuilders } from '../../modules/plugins/builders.js';
import { startWorker } from '../start.js';
import { DETECT_CONFIG_KEYS, detectStep } from './detect.step.js';

await startWorker('detect', (core, _, plugins) => {
  const detect = detectStep(undefined, () => pluginBuilders(plugins));
  // a few config vars steer detection; they are read here, by the recorded version, because their values may be secret
  return async (context) => {
    const env = await core.env(context.input.app, context.input.configVersion);
    const steering = Object.fromEntries(DETECT_CONFIG_KEYS.flatMap((key) => (env[key] === undefined ? [] : [[key, env[key]]])));
    return detect({ ...context, input: { ...context.input, settings: { ...context.input.settings, ...steering } } });
  };
});
