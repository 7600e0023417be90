import { readConfig } from '../../config.js';
import { HaproxyDriver, haproxyOptions } from './haproxy.driver.js';

/** Run before HAProxy starts: makes its files, keeping the routes that are there. */
const options = haproxyOptions(readConfig());
await new HaproxyDriver(options).ensureFiles();
process.stdout.write(`router files ready in ${options.dir}\n`);
