import 'reflect-metadata';
import { GitDriver } from '../../drivers/git/git.driver.js';
import { startWorker } from '../start.js';
import { cloneStep } from './clone.step.js';

await startWorker('clone', ({ config }) => cloneStep({ git: new GitDriver({ root: config.root, gitUser: config.gitUser }), config }));
