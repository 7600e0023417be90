import 'reflect-metadata';
import { GitDriver } from '../../drivers/git/git.driver.js';
import { accessOf } from '../../modules/sources/git-access.js';
import { startWorker } from '../start.js';
import { cloneStep } from './clone.step.js';

await startWorker('clone', (core) => {
  const { config } = core;
  return cloneStep({ git: new GitDriver({ root: config.root, gitUser: config.gitUser, access: () => accessOf(core) }), config });
});
