import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StepFailure } from '../../events/step.js';
import { parseProcfile } from './procfile.js';

const failure = (text: string): StepFailure => {
  try { parseProcfile(text); } catch (error) { expect(error).toBeInstanceOf(StepFailure); return error as StepFailure; }
  throw new Error('was accepted');
};

describe('Procfile', () => {
  it('reads processes in order and keeps release apart', () => {
    const { processes, release } = parseProcfile('# a\n// b\r\nweb:  gunicorn x --bind 0.0.0.0:$PORT  \r\n\r\nrelease: ./migrate\nworker-2 : echo a:b # kept\n');
    expect(Object.entries(processes)).toEqual([['web', 'gunicorn x --bind 0.0.0.0:$PORT'], ['worker-2', 'echo a:b # kept']]);
    expect(release).toBe('./migrate');
  });
  it.each([
    ['web gunicorn', 'line 1: no colon: "web gunicorn"'],
    ['web: a\nWeb: b', 'line 2: not a process name: "Web: b"'],
    ['web: a\n\n../x: b', 'line 3: not a process name'],
    ['web:', 'line 1: no command'],
    ['web: a\nweb: b', 'line 2: this process is there twice'],
    [`${'a'.repeat(64)}: x`, 'line 1: not a process name'],
    ['-a: x', 'line 1: not a process name'],
    ['', 'names no process'],
    ['# nothing', 'names no process'],
    [`x${'y'.repeat(500)}`, '…"'],
  ])('refuses %j and names the line', (text, message) => {
    const error = failure(text);
    expect(error.code).toBe('detect.procfile');
    expect(error.message).toContain(message);
    expect(error.message).not.toContain('\n');
    expect(error.fault).toBe('user');
  });

  const name = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/).filter((text) => text !== 'release');
  const command = fc.string({ minLength: 1 }).map((text) => text.replace(/[\r\n\0]/g, ' ').trim()).filter((text) => text !== '');
  const noise = fc.constantFrom('', '  ', '# x: y', '// x: y');
  it('gives back what was written, whatever the newlines and the noise', () => {
    fc.assert(fc.property(fc.uniqueArray(fc.tuple(name, command), { selector: ([key]) => key, minLength: 1 }), noise, fc.constantFrom('\n', '\r\n', '\r'), (entries, line, end) => {
      const text = entries.map(([key, value]) => `${key}: ${value}${end}${line}`).join(end);
      expect(parseProcfile(text).processes).toEqual(Object.fromEntries(entries));
    }));
  });
  it('throws nothing but detect.procfile and answers only valid names', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.array(fc.oneof(fc.string(), fc.tuple(fc.string(), fc.string()).map((pair) => pair.join(':')))).map((lines) => lines.join('\n'))), (text) => {
      try {
        const { processes } = parseProcfile(text);
        for (const [key, value] of Object.entries(processes)) { expect(key).toMatch(/^[a-z0-9-]{1,63}$/); expect(value.trim()).toBe(value); expect(value).not.toBe(''); }
      } catch (error) { expect((error as StepFailure).code).toBe('detect.procfile'); }
    }));
  });
});
