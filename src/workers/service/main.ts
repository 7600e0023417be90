import 'reflect-metadata';
import { startOperations } from '../start.js';

await startOperations(() => ({}));
