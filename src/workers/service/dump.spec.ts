import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ExecIo } from '../../drivers/engine/engine.port.js';
import type { OperationContext, StepLog } from '../../events/step.js';
import type { DumpStepInput } from '../../modules/services/service.operations.js';
import type { ServiceDeps } from './deps.js';
import { dumpStep } from './service.steps.js';
import { serviceType } from '../../plugins/services/types.js';

const log: StepLog = new Proxy({} as StepLog, { get: () => () => {} });
const input = { service: 's', type: 'postgres', name: 'blog', image: { source: 'packages', reference: '17' }, settings: {}, secrets: { password: {} }, container: 'c', dump: true } as unknown as DumpStepInput;

describe('a last dump', () => {
  let root: string;
  beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'berth-dump-')); });
  afterEach(() => { rmSync(root, { recursive: true }); });
  const run = (pieces: number, exitCode = 0) => {
    const exec = async (_: string, __: unknown, { stdout }: ExecIo) => {
      for (let i = 0; i < pieces; i += 1) await stdout!(Buffer.alloc(65_536, i));
      return { exitCode, stderr: exitCode === 0 ? '' : 'connection lost' };
    };
    const engine = { observed: () => engine, exec };
    const deps = { engine, config: { root, instance: 'x' }, unseal: async () => 'secret', typeOf: async ({ type }: { type: string }) => serviceType(type) } as unknown as ServiceDeps;
    return dumpStep(deps)({ input, log, group: 's', operation: 1, signal: new AbortController().signal } as unknown as OperationContext<DumpStepInput>);
  };
  const files = (): string[] => (existsSync(join(root, 'dumps')) ? readdirSync(join(root, 'dumps')) : []);

  it('is whole, and for root only', async () => {
    const { file } = await run(40);
    expect(files()).toEqual(['postgres-blog-s.1.dump']);
    expect(readFileSync(file!).length).toBe(40 * 65_536);
    expect(statSync(file!).mode & 0o777).toBe(0o600);
  });

  it('leaves nothing when the program fails, or is cut off', async () => {
    await expect(run(3, 1)).rejects.toThrow('pg_dump ended with 1: connection lost');
    expect(files()).toEqual([]);
  });

  it('leaves nothing when the disk is full, which is the machine\'s fault', async () => {
    mkdirSync(join(root, 'dumps'));
    symlinkSync('/dev/full', join(root, 'dumps', 'postgres-blog-s.1.dump.part'));
    await expect(run(40)).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(files()).toEqual([]);
  });
});
