import { describe, expect, it } from 'vitest';
import { shellCommand } from './command.js';
import { explain, parseListeners } from './listening.js';

describe('a Procfile line', () => {
  it('replaces the shell when it is one command', () => {
    expect(shellCommand('node server.js --port $PORT')).toEqual(['/bin/sh', '-c', 'exec node server.js --port $PORT']);
    expect(shellCommand('gunicorn -b 0.0.0.0:${PORT:-5000} app')[2]).toBe('exec gunicorn -b 0.0.0.0:${PORT:-5000} app');
  });
  it('stays under the shell when it is more than that', () => {
    for (const line of ['a && b', 'A=1 b', 'cd x', 'exec a', 'a | b', 'while true', '"my prog" x', '$CMD', '(a)']) expect(shellCommand(line)[2]).toBe(line);
  });
});

describe('what a container listens on', () => {
  const head = '  sl  local_address rem_address   st\n';
  it('reads the kernel\'s table', () => {
    expect(parseListeners(`${head}   0: 0100007F:1F90 00000000:0000 0A x\n   1: 00000000:0BB8 00000000:0000 0A x\n   2: 0B00007F:A1B2 00000000:0000 0A x\n   3: 0100007F:1F91 0100007F:0001 01 x\n`))
      .toEqual([{ port: 8080, loopback: true }, { port: 3000, loopback: false }]);
    expect(parseListeners(`${head}   0: 00000000000000000000000001000000:1388 0:0 0A x\n   1: 00000000000000000000000000000000:1389 0:0 0A x\n   2: 0000000000000000FFFF00000100007F:138A 0:0 0A x`))
      .toEqual([{ port: 5000, loopback: true }, { port: 5001, loopback: false }, { port: 5002, loopback: true }]);
  });
  it('says what is wrong', () => {
    expect(explain([{ port: 3000, loopback: false }], 5000).text).toBe('the app listens on port 3000, expected $PORT=5000');
    expect(explain([{ port: 5000, loopback: true }], 5000).text).toBe('the app listens on 127.0.0.1:5000 only');
    expect(explain([], 5000).text).toContain('no port');
  });
});
