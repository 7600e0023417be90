import type { LogStore } from '../drivers/logs/log-store.js';
import type { StepLog } from '../events/step.js';

const ANSI = /\u001B(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001B]*(?:\u0007|\u001B\\)|[@-Z\\-_])/g;

/** One line without colour codes, carriage returns and other control characters. */
export function clean(text: string): string {
  const shown = text.replace(ANSI, '');
  const last = shown.replace(/\r+$/, '').split('\r').at(-1)!; // a progress bar's final state
  return last.replace(/[\u0000-\u0008\u000B-\u001F\u007F]/g, '');
}

/** A step's words, written into the log of its deploy or operation. */
export function openStepLog(logs: LogStore, name: string, step: string, attempt: number, now: () => number): { log: StepLog; close(): Promise<void> } {
  const writer = logs.writer(name);
  const put = (m: string, k?: 'o' | 'e' | 'c', v?: 1): void => {
    for (const line of m.split('\n')) writer.append({ t: now(), s: step, a: attempt, m: clean(line), ...(k && { k }), ...(v && { v }) });
  };
  return {
    log: {
      info: (text) => put(`-----> ${text}`),
      section: (text) => put(`=====> ${text}`),
      detail: (text) => put(`       ${text}`),
      warn: (text) => put(` !     ${text}`, 'e'),
      output: (text, always) => put(`       ${text}`, 'o', always ? undefined : 1),
      call: (name, ms, detail) => put(`${name} ${Math.round(ms)}ms${detail ? ` ${detail}` : ''}`, 'c', 1),
    },
    close: () => writer.close(),
  };
}
