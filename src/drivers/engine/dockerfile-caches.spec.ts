import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { withOwnCaches } from './dockerfile-caches.js';

describe('caches of a Dockerfile', () => {
  it('get the app in their id, whether they had one or not', () => {
    expect(withOwnCaches('FROM x\nRUN --mount=type=cache,target=/root/.npm npm ci\nRUN --mount=type=cache,id=pip,target=/c pip', 'a1')).toBe('FROM x\nRUN --mount=type=cache,target=/root/.npm,id=a1-_root_.npm npm ci\nRUN --mount=type=cache,target=/c,id=a1-pip pip');
  });
  it('over continuation lines, and nothing behind the flags', () => {
    expect(withOwnCaches('RUN --mount=type=cache,target=/a \\\n  --network=none --mount=target=/b,type=cache \\\n  echo --mount=type=cache,target=/c', 'a1')).toBe('RUN --mount=type=cache,target=/a,id=a1-_a \\\n  --network=none --mount=target=/b,type=cache,id=a1-_b \\\n  echo --mount=type=cache,target=/c');
  });
  it('other mounts stay', () => { for (const text of ['RUN --mount=type=secret,id=x cat', 'RUN --mount=type=bind,target=/type=cache ls', 'COPY --mount=type=cache a b', 'RUN echo hi']) expect(withOwnCaches(text, 'a1', 'm')).toBe(text); });
  it('a generation makes other ids', () => { expect(withOwnCaches('RUN --mount=type=cache,id=a1-pip,target=/c x', 'a1.2')).toBe('RUN --mount=type=cache,target=/c,id=a1.2-pip x'); });
  it('are marked for the engine, on lines that are whole', () => {
    expect(withOwnCaches('RUN --mount=type=cache,id=a1-pip,target=/c x', 'a1', 'berth/a1')).toBe('RUN --mount=type=cache,target=/c,id=a1-pip x # berth/a1');
    expect(withOwnCaches('RUN --mount=type=cache,id=p,target=/c x \\\n  y\r\n', 'a1', 'b/a1')).toBe('RUN --mount=type=cache,target=/c,id=a1-p x \\\n  y # b/a1\r\n');
    for (const text of ['RUN --mount=type=cache,id=p,target=/c ["x"]', 'RUN --mount=type=cache,id=p,target=/c <<END\nx\nEND', 'RUN --mount=type=cache,id=p,target=/c x \\']) expect(withOwnCaches(text, 'a1', 'b/a1')).not.toContain('#');
  });
  it('twice is the same as once', () => {
    fc.assert(fc.property(fc.array(fc.constantFrom('RUN ', '--mount=type=cache,target=/x ', '--mount=id=q,type=cache,dst=/y ', 'x', ' \\\n', '\n', 'FROM y\n', '<<EOF\n', 'EOF\n')), (parts) => {
      const once = withOwnCaches(parts.join(''), 'a1.3', 'm/a1');
      expect(withOwnCaches(once, 'a1.3', 'm/a1')).toBe(once);
    }));
  });
});
