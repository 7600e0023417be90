import { describe, it } from 'vitest';
import { given } from '../../../test/given.js';
import { claims } from './claim.decider.js';

describe('a name', () => {
  const claimed = { type: 'NameClaimed', data: { name: 'blog', app: 'a' } } as const;
  const released = { type: 'NameReleased', data: { name: 'blog', app: 'a' } } as const;

  it('belongs to who claims it first', () => {
    given(claims).when({ type: 'Claim', name: 'blog', app: 'a' }).then(claimed);
    given(claims, [claimed]).when({ type: 'Claim', name: 'blog', app: 'a' }).then();
    given(claims, [claimed]).when({ type: 'Claim', name: 'blog', app: 'b' }).rejects('name.taken');
  });

  it('is given back by its holder only, and is free then', () => {
    given(claims, [claimed]).when({ type: 'Release', name: 'blog', app: 'b' }).then();
    given(claims, [claimed]).when({ type: 'Release', name: 'blog', app: 'a' }).then(released);
    given(claims, [claimed, released]).when({ type: 'Release', name: 'blog', app: 'a' }).then();
    given(claims, [claimed, released]).when({ type: 'Claim', name: 'blog', app: 'b' }).then({ type: 'NameClaimed', data: { name: 'blog', app: 'b' } });
  });
});
