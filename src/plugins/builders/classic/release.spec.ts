import { describe, expect, it } from 'vitest';
import { parseRelease } from './release.js';

describe('what bin/release prints', () => {
  it('is read as YAML', () => {
    expect(parseRelease('---\naddons: []\nconfig_vars:\n  PATH: x\n# c\ndefault_process_types:\n  web: java -jar x.jar --a=b:c # why\n  "worker": "say \\"hi\\""\n  release: \'it\'\'s\'\nother:\n  web: no\n'))
      .toEqual({ processTypes: { web: 'java -jar x.jar --a=b:c', worker: 'say "hi"' }, release: "it's", configVars: ['PATH'] });
    expect(parseRelease('default_process_types: {web: bin/x, worker: "y z"}').processTypes).toEqual({ web: 'bin/x', worker: 'y z' });
    expect(parseRelease('default_process_types:\n  web: >\n    long\n    line\n').processTypes).toEqual({ web: 'long line' });
    expect(parseRelease('default_process_types:\n  web: yes\n  n: 8\n').processTypes).toEqual({ web: 'yes', n: '8' });
  });
  it('may say nothing', () => { for (const text of ['', '--- {}', 'default_process_types: {}', 'web: x', '[]', 'x', '---\n', 'default_process_types:\n  - web']) expect(parseRelease(text)).toEqual({ processTypes: {}, release: null, configVars: [] }); });
  it('leaves out what can be no process', () => { expect(parseRelease('default_process_types:\n  Web App: x\n  __proto__: y\n  web:\n    a: b\n  ok: "z"\n  empty: ""\n').processTypes).toEqual({ ok: 'z' }); });
  it('is refused when it is no YAML, or a bomb', () => {
    for (const text of ['a: [', 'a: b: c', '\ta: b', `a: &a [x]\n${Array.from({ length: 200 }, (_, i) => `b${i}: *a`).join('\n')}`]) expect(() => parseRelease(text)).toThrow();
  });
});
