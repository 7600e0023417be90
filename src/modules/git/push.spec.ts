import { describe, expect, it } from 'vitest';
import { judge } from './push.js';

const ZERO = '0'.repeat(40);
const to = (ref: string, sha = 'a'.repeat(40)) => ({ ref, old: ZERO, new: sha });
const head = (branch: string, sha?: string) => to(`refs/heads/${branch}`, sha);

describe('a push', () => {
  it('of main or master is deployed while there is no deploy branch, and makes it that; main goes first', () => {
    expect(judge('blog', null, [head('main')])).toEqual({ deploy: head('main'), branch: 'main', first: true });
    expect(judge('blog', null, [head('master')])).toEqual({ deploy: head('master'), branch: 'master', first: true });
    expect(judge('blog', null, [head('master'), head('main'), head('x')])).toMatchObject({ branch: 'main' });
  });

  it('of the deploy branch is deployed, whatever else is pushed with it', () => {
    expect(judge('blog', 'live', [head('main'), to('refs/tags/v1'), head('live')])).toEqual({ deploy: head('live'), branch: 'live', first: false });
  });

  it('of another branch is stored, and told how to deploy it', () => {
    const said = judge('blog', null, [head('feature/x')]);
    expect(said).toMatchObject({ exit: 0 });
    expect((said as { say: string[] }).say.join('\n')).toMatch(/feature\/x was stored, but not deployed: main or master [^]*git push <remote> feature\/x:main[^]*git:set blog deploy-branch feature\/x/);
    expect((judge('blog', 'live', [head('main')]) as { say: string[] }).say.join('\n')).toMatch(/main was stored[^]*main:live/);
  });

  it('that deletes the deploy branch is refused; other deletions and tags pass in silence', () => {
    expect(judge('blog', 'main', [head('main', ZERO)])).toMatchObject({ exit: 1, say: [expect.stringContaining('cannot be deleted'), expect.any(String)] });
    expect(judge('blog', 'main', [head('old', ZERO), to('refs/tags/v1')])).toEqual({ say: [], exit: 0 });
    expect(judge('blog', 'main', [head('old', ZERO), head('new')])).toMatchObject({ exit: 0, say: [expect.stringContaining('new was stored'), expect.any(String), expect.any(String)] });
  });

  it('is not misled by refs that only look like the branch', () => {
    for (const ref of ['refs/tags/main', 'refs/heads/main/x', 'refs/heads/MAIN', 'refs/notes/main', 'refs/heads/x/main']) expect(judge('blog', 'main', [to(ref)])).not.toHaveProperty('deploy');
  });
});
