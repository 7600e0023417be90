/**
 * Run by the restore's test in a process of its own: `node child.mjs <restore|settle> <root> <archive> <border>`. It kills itself with SIGKILL right
 * before its `border`th effect: a call of the store, of git, of the engine, of the file system that changes something.
 */
import { writeSync } from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { check } from '../../src/modules/backup/check.js';
import { load } from '../../src/modules/backup/load.js';
import { settle } from '../../src/modules/backup/settle.js';
import { openMachine } from './support/machine.js';

const [mode = '', root = '', archive = '', border = '0'] = process.argv.slice(2);
let effects = 0;
let exchanged = 0;

function effect(name: string): void {
  effects += 1;
  if (effects !== Number(border)) return;
  writeSync(1, `killed before ${name}\n`);
  process.kill(process.pid, 'SIGKILL');
}
function watch<T extends object>(of: T, what: string, names: readonly (keyof T & string)[]): void {
  for (const name of names) {
    const original = of[name] as unknown as (...args: unknown[]) => unknown;
    Object.assign(of, { [name](...args: unknown[]) {
      effect(`${what}.${name}`);
      return original.apply(this === undefined ? of : this, args);
    } });
  }
}

const core = await openMachine(root);
watch(fs, 'fs', ['mkdir', 'rename', 'rm', 'writeFile', 'open']);
syncBuiltinESMExports();
watch(core.store, 'store', ['transact', 'putKey']);
watch(core.transfer!, 'git', ['unpack']);
watch(core.engine!, 'engine', ['states', 'hasImage']);
const replace = core.store.replace.bind(core.store);
core.store.replace = async (log) => {
  effect('the exchange');
  await replace(log);
  exchanged = effects;
  effect('anything after the exchange');
};

const quiet = { info: () => {}, detail: () => {}, warn: () => {} };
// as the command does, without the command line
if (mode === 'restore') await load(core, { path: archive, passphrase: null, checked: await check(archive, null), volumes: true }, 'root@host', new AbortController().signal, quiet);
await settle(core, quiet);
process.stdout.write(`${JSON.stringify({ effects, exchanged })}\n`);
await core.close();
