import { describe, expect, it } from 'vitest';
import { s3 } from '../../plugins/services/s3.service.js';
import { SERVICE_TYPES } from '../../plugins/services/types.js';
import { serviceDockerfile, serviceImageName } from './service-image.js';

describe('the image of a service', () => {
  it('is called after what it is made of', () => {
    const names = SERVICE_TYPES.flatMap(({ type, version, packaged }) => (packaged ? [serviceImageName(type, version, packaged)] : []));
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^berth\/service-[a-z0-9]+:[\d.]+-[0-9a-f]{8}$/);
    const other = { ...s3.packaged!, program: { ...s3.packaged!.program!, sum: 'h1:another' } };
    expect(serviceImageName('s3', '1.8', other)).not.toBe(serviceImageName('s3', '1.8', s3.packaged!));
  });

  it('with a program that no package has gets that alone, not what compiled it', () => {
    const [, stage, image] = serviceDockerfile(s3.packaged!, 'base:1').split(/^FROM /m);
    expect(stage).toMatch(/^base:1 AS program\n/);
    expect(stage).toContain('go mod download -json github.com/versity/versitygw@v1.8.0');
    // compared before it is compiled
    expect(stage!.indexOf(s3.packaged!.program!.sum)).toBeLessThan(stage!.indexOf('go build'));
    expect(image).toContain('COPY --from=program /usr/local/bin/versitygw /usr/local/bin/\n');
    expect(image).not.toMatch(/golang|go build/);
  });

  it('that is all packages has one stage', () => {
    const redis = SERVICE_TYPES.find(({ type }) => type === 'redis')!;
    expect(serviceDockerfile(redis.packaged!).match(/^FROM /gm)).toHaveLength(1);
  });
});
