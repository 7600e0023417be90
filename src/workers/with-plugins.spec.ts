import { describe, expect, it } from 'vitest';
import { StepFailure, type Replies, type StepContext, type StepLog } from '../events/step.js';
import type { Additions, HookReply, HookTime } from '../events/types/plugin.events.js';
import type { Plugin } from '../modules/plugins/active.js';
import { withPlugins } from './with-plugins.js';

const box = { seal: async (k: string, text: string) => ({ k, iv: '', ct: Buffer.from(text).toString('base64'), tag: '' }), unseal: async ({ ct }: { ct: string }) => Buffer.from(ct, 'base64').toString() };
const plugin = (name: string, when: HookTime, mayRefuse = false): Plugin => ({ name, enabled: true, reason: null, data: '', code: null, uid: null, handlers: null, manifest: { name, version: '1.0.0', description: '', berth: '*', protocol: 1, needs: [], main: null, commands: [], hooks: [{ step: 'build', when, mayRefuse }], events: null, buildpacks: {} } });

/** A step as the runner would have it: what is recorded is there in the next attempt. */
function stage(plugins: readonly Plugin[], answers: Readonly<Record<string, object | Error>>, known: { when: HookTime; replies: readonly HookReply[] }[] = [], earlier: readonly HookReply[] = []) {
  const asked: string[] = [];
  const said: string[] = [];
  const seen: (Additions | undefined)[] = [];
  const line = (text: string): void => { said.push(text); };
  const log: StepLog = { info: line, section: line, detail: line, warn: line, output: line, call: () => {} };
  const run = async (work: () => object = () => ({ bytes: 1 })): Promise<unknown> => {
    const replies: Replies = { all: [...earlier, ...known.flatMap((each) => each.replies)], of: (when) => known.find((each) => each.when === when)?.replies ?? null, record: async (when, given) => { known.push({ when, replies: given }); } };
    const ask = async ({ name }: Plugin): Promise<{ answer: object; exit: number }> => {
      asked.push(name);
      const answer = answers[name] ?? {};
      if (answer instanceof Error) throw answer;
      return { answer, exit: 0 };
    };
    const context = { step: 'build', app: 'a1', deploy: 1, job: 'a1.1.build', attempt: 1, input: { name: 'shop' }, log, signal: new AbortController().signal, replies } as unknown as StepContext<'build'>;
    return withPlugins<'build'>({ enabled: async () => [...plugins], ask: ask as never }, box, async ({ added }) => { seen.push(added); return work() as never; })(context);
  };
  return { asked, said, seen, known, run };
}

describe('a step with plugins', () => {
  it('writes answers down, sealed, and hands them to the work in the order of their names', async () => {
    const { run, known, seen } = stage([plugin('a', 'before'), plugin('b', 'before')], { a: { add: { env: { X: 'a', Y: 'a' } } }, b: { add: { env: { X: 'b' } } } });
    await run();
    expect(seen).toEqual([{ env: { X: 'b', Y: 'a' } }]);
    expect(known[0]!.replies[0]!.add!.env!['X']).toMatchObject({ k: 'a1' });
  });

  it('takes what an attempt before it wrote down, and asks nobody twice', async () => {
    const first = stage([plugin('a', 'before')], { a: { add: { env: { X: '1' } } } });
    await first.run(() => { throw new Error('the machine'); }).catch(() => {});
    const second = stage([plugin('a', 'before')], { a: { add: { env: { X: '2' } } } }, first.known);
    await second.run();
    expect([second.asked, second.seen]).toEqual([[], [{ env: { X: '1' } }]]);
  });

  it('goes on without one that fails, and ends with one that refuses and may', async () => {
    const failing = stage([plugin('a', 'before'), plugin('b', 'before')], { a: new Error('it hangs'), b: { refuse: 'no' } });
    await failing.run();
    expect(failing.said).toEqual(['Plugin a: it hangs; the deploy goes on without it', 'Plugin b: it refuses (no), which its manifest does not declare: mayRefuse; the deploy goes on without it']);
    const refusing = stage([plugin('b', 'before', true)], { b: { refuse: 'no\nway' } });
    await expect(refusing.run()).rejects.toMatchObject({ code: 'plugin.refused', message: 'plugin b refuses: no way', fault: 'user' } satisfies Partial<StepFailure>);
    expect(refusing.seen).toEqual([]);
    const after = stage([plugin('c', 'after', true)], { c: { refuse: 'a hole in it' } });
    await expect(after.run()).rejects.toThrow('a hole in it');
    expect(after.seen.length).toBe(1);
  });

  it('keeps what earlier steps were given, and writes nothing where nobody is registered', async () => {
    const earlier: HookReply = { plugin: 'a', version: '1', tookMs: 1, add: { labels: { team: 'web' } } };
    const { run, seen, known } = stage([], {}, [], [earlier]);
    await run();
    expect([seen, known]).toEqual([[{ labels: { team: 'web' } }], []]);
  });
});
