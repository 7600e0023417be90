import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { stack } from '../../../../test/builders/kit.js';
import { SCRIPT, START, defaultProcessTypes, masker, slugDockerfile } from './classic.runner.js';

describe('classic buildpacks', () => {
  it('reads default process types out of bin/release', () => {
    expect(defaultProcessTypes('---\naddons: []\nconfig_vars:\n  PATH: x\n# c\ndefault_process_types:\n  web: java -jar x.jar --a=b:c # why\n  "worker": "say \\"hi\\""\n  release: \'it\'\'s\'\nother:\n  web: no\n')).toEqual({ web: 'java -jar x.jar --a=b:c', worker: 'say "hi"', release: "it's" });
    expect(defaultProcessTypes('default_process_types: {web: bin/x, worker: "y z"}')).toEqual({ web: 'bin/x', worker: 'y z' });
    for (const text of ['', '--- {}', 'default_process_types: {}', 'web: x']) expect(defaultProcessTypes(text)).toEqual({});
  });
  it('hides config values in output, long ones first, and leaves short words alone', () => {
    const mask = masker(['secret-value', 'secret-value-longer', 'on', 'line one of two\nline two of two']);
    expect(mask('a secret-value-longer b secret-value on line two of two')).toBe('a *** b *** on ***');
  });
  it('makes the image from the slug', () => { expect(slugDockerfile(stack, 'run "it" --port $PORT')).toMatchSnapshot(); });
  it('has scripts that bash can read', () => { for (const text of [SCRIPT, START]) expect(spawnSync('bash', ['-n'], { input: text }).status).toBe(0); });
});
