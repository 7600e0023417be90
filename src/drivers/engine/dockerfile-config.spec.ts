import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asWritten, shellExports, withConfig } from './dockerfile-config.js';

const TEXT = 'FROM a AS base\nRUN one\nARG TOKEN\nARG NODE_ENV=production\nARG OTHER=x\nRUN --mount=type=cache,id=c,target=/c two && three\nFROM base AS build\nRUN four\nFROM run\nRUN five\n';
const secret = '--mount=type=secret,id=berth_config,target=/run/berth/config.m1,mode=0444';

describe('config of a generated Dockerfile', () => {
  it('is a file that RUN reads, from its ARG on, also in what is based on the stage', () => {
    expect(withConfig(TEXT, ['TOKEN', 'NODE_ENV'], 'm1')).toBe(
      `FROM a AS base\nRUN one\nARG NODE_ENV=production\nARG OTHER=x\nRUN ${secret} --mount=type=cache,id=c,target=/c . /run/berth/config.m1; two && three\nFROM base AS build\nRUN ${secret} . /run/berth/config.m1; four\nFROM run\nRUN five\n`);
  });
  it('changes nothing when no argument is named', () => {
    expect(withConfig(TEXT, ['ELSE'], 'm1')).toBe(TEXT);
  });
  it('is not seen in what the builder says', () => {
    expect(asWritten(`#5 [2/4] RUN ${secret} --mount=type=cache,id=c . /run/berth/config.m1; two # berth/app1`)).toBe('#5 [2/4] RUN --mount=type=cache,id=c two');
  });
  it('comes out of the shell as it went in', () => {
    fc.assert(fc.property(fc.string({ unit: 'grapheme' }).filter((value) => !value.includes('\0')), (value) => {
      expect(execFileSync('/bin/sh', ['-c', `${shellExports({ X: value })}printf %s "$X"`], { encoding: 'utf8' })).toBe(value);
    }), { numRuns: 30 });
  });
});
