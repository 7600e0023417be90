import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildFailure, place } from './build-failure.js';
import { BuildProgress, parseStep } from './buildkit/progress.js';
import { Demuxer, LineSplitter, StampedLines } from './docker.logs.js';
import { jks } from './jks.js';
import { labelFilter, labels, readLabels } from './labels.js';
import { LegacyProgress } from './legacy-progress.js';
import { freeSubnets, parseCidr } from './subnets.js';

const frame = (stream: number, text: string | Buffer): Buffer => {
  const data = Buffer.from(text);
  const head = Buffer.alloc(8);
  head[0] = stream;
  head.writeUInt32BE(data.length, 4);
  return Buffer.concat([head, data]);
};

describe('the engine\'s streams', () => {
  it('come apart the same, however they are cut', () => {
    fc.assert(fc.property(fc.array(fc.tuple(fc.constantFrom(1, 2), fc.string({ unit: 'grapheme', maxLength: 8 })), { maxLength: 10 }), fc.array(fc.nat({ max: 30 }), { maxLength: 8 }), (frames, cuts) => {
      const whole = Buffer.concat(frames.map(([stream, text]) => frame(stream, text)));
      const demuxer = new Demuxer();
      const found: string[] = [];
      let at = 0;
      for (const cut of [...cuts, whole.length]) {
        for (const { stream, data } of demuxer.push(whole.subarray(at, at + cut))) found.push(`${stream} ${data.toString()}`);
        at += cut;
      }
      for (const { stream, data } of demuxer.push(whole.subarray(at))) found.push(`${stream} ${data.toString()}`);
      expect(found).toEqual(frames.map(([stream, text]) => `${stream === 2 ? 'stderr' : 'stdout'} ${text}`));
    }));
  });

  it('make lines, with UTF-8 over the cut', () => {
    const splitter = new LineSplitter();
    const bytes = Buffer.from('aü\r\nb');
    expect([splitter.push(bytes.subarray(0, 2)), splitter.push(bytes.subarray(2)), splitter.end(), splitter.end()]).toEqual([[], ['aü'], ['b'], []]);
  });

  it('join lines that the engine cut', () => {
    const lines = new StampedLines();
    const push = (text: string) => lines.push({ stream: 'stdout', data: Buffer.from(text) });
    expect(push('T1 one \n')).toEqual([{ stream: 'stdout', at: 'T1', text: 'one ' }]);
    expect(push('T2 aa')).toEqual([]);
    expect(push('T3 bb\n')).toEqual([{ stream: 'stdout', at: 'T2', text: 'aabb' }]);
    push('T4 rest');
    expect(lines.end()).toEqual([{ stream: 'stdout', at: 'T4', text: 'rest' }]);
  });
});

describe('progress', () => {
  const at = (seconds: number) => ({ seconds, nanos: 0 });
  it('numbers what starts, times what it says, and knows what failed', () => {
    const lines: string[] = [];
    const progress = new BuildProgress((line) => void lines.push(line));
    progress.feed({ vertexes: [{ digest: 'x', name: '[1/2] FROM a' }, { digest: 'y', name: '[2/2] RUN b', started: at(10) }], logs: [{ vertex: 'y', stream: 1, timestamp: { seconds: 10, nanos: 5e8 }, msg: Buffer.from('10%\r20%\nhal') }] });
    expect(progress.running).toBe('[2/2] RUN b');
    progress.feed({ vertexes: [{ digest: 'y', name: '[2/2] RUN b', started: at(10), completed: at(12), error: 'exit code: 1' }, { digest: 'z', name: '[o 1/2] RUN c', started: at(10), completed: at(12), error: 'context canceled' }, { digest: 'x', name: '[1/2] FROM a', cached: true, started: at(12), completed: at(12) }], logs: [] });
    expect(lines).toEqual(['#1 [2/2] RUN b', '#1 0.500 20%', '#2 [o 1/2] RUN c', '#3 [1/2] FROM a', '#1 0.500 hal', '#1 ERROR: exit code: 1', '#2 ERROR: context canceled', '#3 CACHED']);
    expect(progress.failed).toEqual({ name: '[2/2] RUN b', error: 'exit code: 1' });
    expect([progress.steps, progress.cached]).toEqual([2, 0]);
  });

  it('reads the old builder\'s text', () => {
    const lines: string[] = [];
    const progress = new LegacyProgress((line) => void lines.push(line.replace(/ \d\.\d{3} /, ' T ')));
    progress.feed('Step 1/2 : FROM a\n ---> 123\nStep 2/2 : RUN b\n ---> Using ca');
    progress.feed('che\nout\n');
    progress.fail("The command '/bin/sh -c b' returned a non-zero code: 4");
    expect(lines).toEqual(['#1 [1/2] FROM a', '#2 [2/2] RUN b', '#2 CACHED', '#2 T out', '#2 ERROR: The command \'/bin/sh -c b\' returned a non-zero code: 4']);
    expect(buildFailure(progress.failed?.error ?? '', progress.failed).message).toBe('the build failed in step 2/2: RUN b: exit code 4');
  });
});

describe('small things', () => {
  it('names a step without our mounts', () => {
    expect(place('[stage-1 2/7] RUN --mount=type=secret,id=berth_ca,target=/x,mode=0444 --mount=type=secret,id=berth_jks,target=/y,mode=0444 make')).toBe('step 2/7: RUN make');
    expect(parseStep('[internal] load build context')).toBeNull();
  });
  it('labels there and back', () => {
    const values = { instance: 'b', app: 'a', deploy: 7, index: undefined };
    expect(labels(values)).toEqual({ 'berth.instance': 'b', 'berth.app': 'a', 'berth.deploy': '7' });
    expect(readLabels({ ...labels(values), other: 'x' })).toEqual({ instance: 'b', app: 'a', deploy: '7' });
    expect(labelFilter({ app: 'a' })).toEqual(['berth.app=a']);
  });
  it('finds free networks', () => {
    expect([...freeSubnets('10.0.0.0/22', ['10.0.1.128/25', '10.0.3.7/32', 'fd00::/8'])].map(({ subnet, gateway }) => `${subnet} ${gateway}`)).toEqual(['10.0.0.0/24 10.0.0.1', '10.0.2.0/24 10.0.2.1']);
    expect([...freeSubnets('10.208.0.0/12', ['10.0.0.0/8'])]).toEqual([]);
    expect(parseCidr('300.0.0.0/8')).toBeNull();
  });
  it('makes a trust store that begins and counts as Java expects', () => {
    const store = jks('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n');
    expect(store.readUInt32BE(0)).toBe(0xfeedfeed);
    expect(store.readUInt32BE(8)).toBe(2);
  });
});
