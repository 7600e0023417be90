import type { OperationWorks } from '../operation-line.js';
import type { ServiceDeps } from './deps.js';
import { admitStep, retireStep } from './login.steps.js';
import { copyStep, dumpStep, exposeStep, imageStep, removeStep, rotateStep, stopStep } from './service.steps.js';
import { startStep } from './start.step.js';

/** The steps of services' operations. */
export function serviceWorks(deps: ServiceDeps): OperationWorks {
  const [image, start] = [imageStep(deps), startStep(deps)];
  return {
    'service-create': { image, start }, 'service-replace': { image, start }, 'service-clone': { image, start, copy: copyStep(deps) },
    'service-rotate': { image, start, rotate: rotateStep(deps), admit: admitStep(deps), retire: retireStep(deps) }, 'service-retire': { retire: retireStep(deps) }, 'service-stop': { stop: stopStep(deps) }, 'service-destroy': { dump: dumpStep(deps), remove: removeStep(deps) }, 'service-expose': { expose: exposeStep(deps) },
  };
}
