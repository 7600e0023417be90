import { command, forget, type Out } from '../commands/command.js';
import type { Check, Health } from './check.js';
import { examine } from './examine.js';

class NoInput {}

const MARK: Readonly<Record<Health, string>> = { ok: '✔', warn: '!', bad: '✖' };

function render(checks: readonly Check[], out: Out): number {
  const width = Math.max(...checks.map((c) => c.check.length)) + 2;
  const indent = ' '.repeat(3 + width);
  for (const c of checks) {
    out.line(`${MARK[c.health]}  ${c.check.padEnd(width)}${c.detail}`);
    if (c.means) out.line(`${indent}→ ${c.means}`);
    if (c.todo) out.line(`${indent}→ ${c.todo}`);
  }
  const count = (health: Health): number => checks.filter((c) => c.health === health).length;
  out.line();
  if (count('bad') + count('warn') === 0) out.info(`All ${checks.length} checks are well`);
  else out.warn([count('bad') > 0 && `${count('bad')} wrong`, count('warn') > 0 && `${count('warn')} worth a look`].filter(Boolean).join(', '));
  return count('bad') > 0 ? 1 : 0;
}

const doctor = command({
  name: 'doctor', summary: 'Check everything worth checking, say what it means and what to do; exit 1 when something is wrong', example: 'berth doctor', input: NoInput, http: { method: 'GET', path: '/doctor' }, reads: true,
  run: ({ core }) => examine(core),
  render,
});

export const doctorCommands = [forget(doctor)];
