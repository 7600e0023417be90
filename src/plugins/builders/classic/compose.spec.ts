import { describe, expect, it } from 'vitest';
import { composed, exported, readEnv } from './compose.js';
import { withStart } from './start.js';

const PYTHON = 'FROM stack-build AS build\nWORKDIR /app\nRUN pip install\n\nFROM stack-run\nCOPY --from=build /v /v\nCOPY --chown=1000:1000 . /app\nUSER 1000:1000\n';

describe('a generated Dockerfile behind other buildpacks', () => {
  it('sees their files and their environment while it builds; the image takes the whole tree', () => {
    expect(composed(PYTHON, { added: ['.apt', '.profile.d'], env: { PATH: '/app/.apt/bin:/bin', LIBRARY_PATH: '/app/.apt/lib:"$x"' } }, '/app', '1000:1000')).toMatchInlineSnapshot(`
      "FROM stack-build AS build
      ARG LIBRARY_PATH="/app/.apt/lib:\\"\\$x\\""
      ENV PATH="/app/.apt/bin:/bin"
      COPY [".apt","/app/.apt"]
      COPY [".profile.d","/app/.profile.d"]
      RUN ln -s /app /tmp/build
      WORKDIR /app
      RUN pip install

      FROM stack-run
      ARG LIBRARY_PATH="/app/.apt/lib:\\"\\$x\\""
      COPY --from=build /v /v
      COPY --chown=1000:1000 . /app
      USER 1000:1000
      "
    `);
  });
  it('a last stage that takes single files gets the others\', too; stages on stages get them once', () => {
    const text = composed('FROM a AS x\nFROM x AS y\nFROM run\nCOPY --from=y /app/bin /app/bin', { added: ['lib'], env: {} }, '/app', '1:1').split('\n');
    expect(text.filter((line) => line.startsWith('COPY ["lib"'))).toHaveLength(1);
    expect(text.at(-2)).toBe('COPY --chown=1:1 ["lib","/app/lib"]');
  });
  it('leaves names out that COPY would not take as they are, and all of them when there are very many', () => {
    expect(composed('FROM a AS x\nFROM b\nCOPY . /app', { added: ['a b', 'a*', '$x', '[x]', '-x\n', 'ü', '--from=x', 'ok'], env: {} }, '/app', '1:1')).toBe('FROM a AS x\nCOPY ["--from=x","/app/--from=x"]\nCOPY ["ok","/app/ok"]\nRUN ln -s /app /tmp/build\nFROM b\nCOPY . /app');
    expect(composed('FROM a AS x\nFROM b\nCOPY . /app', { added: Array.from({ length: 99 }, (_, i) => `f${i}`), env: {} }, '/app', '1:1')).not.toContain('f1');
  });
  it('hands on what changed, at its later place, and no secret', () => {
    const env = (values: Record<string, string>): string => Object.entries(values).map(([name, value]) => `${name}=${value}\0`).join('');
    const before = env({ PATH: '/bin', PWD: '/', SAME: '1' });
    const after = env({ PATH: '/tmp/build/.apt/bin:/bin', PWD: '/tmp', SAME: '1', LIB: '/tmp/build', NOT: '/tmp/builder', KEY: 'k-secret', LINES: 'a\nb', 'BASH_FUNC_x%%': '() {' });
    expect(exported(before, after, '/app', (text) => text.includes('secret'))).toEqual({ env: { PATH: '/app/.apt/bin:/bin', LIB: '/app', NOT: '/tmp/builder' }, left: ['KEY', 'LINES', 'BASH_FUNC_x%%'] });
    expect([...readEnv('A=1\0B=x=y\0=bad\0\0C=a\nb\0')]).toEqual([['A', '1'], ['B', 'x=y'], ['C', 'a\nb']]);
  });
  it('starts with the profile scripts, unless it has an entry point of its own', () => {
    expect(withStart(PYTHON).endsWith('USER 1000:1000\nCOPY .berth/start /usr/local/bin/berth-start\nENTRYPOINT ["/bin/bash", "/usr/local/bin/berth-start"]\n')).toBe(true);
    expect(withStart('FROM a\nENTRYPOINT ["x"]\n')).toBe('FROM a\nENTRYPOINT ["x"]\n');
  });
});
