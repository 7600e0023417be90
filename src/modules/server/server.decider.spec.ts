import { describe, it } from 'vitest';
import { given } from '../../../test/given.js';
import { server } from './server.decider.js';

describe('the server', () => {
  it('has global domains, in one spelling and each once', () => {
    const set = { type: 'GlobalDomainSet', data: { domains: ['a.com', 'b.com'] } } as const;
    given(server).when({ type: 'SetDomains', domains: ['A.com', 'b.com.', 'a.com'] }).then({ type: 'GlobalDomainSet', data: { domains: ['a.com', 'b.com'] } });
    given(server, [{ ...set, data: { domains: [...set.data.domains] } }]).when({ type: 'SetDomains', domains: ['a.com', 'b.com'] }).then();
    given(server).when({ type: 'SetDomains', domains: ['a.com', 'http://b'] }).rejects('domain.bad');
    given(server).when({ type: 'SetDomains', domains: [] }).then();
  });

  it('is switched to trace mode and back', () => {
    given(server).when({ type: 'Trace', on: true }).then({ type: 'TraceSwitched', data: { on: true } });
    given(server).when({ type: 'Trace', on: false }).then();
    given(server, [{ type: 'TraceSwitched', data: { on: true } }]).when({ type: 'Trace', on: false }).then({ type: 'TraceSwitched', data: { on: false } });
  });

  it('keeps settings; null takes one away', () => {
    const on = { type: 'ServerSettingChanged', data: { key: 'x', from: null, to: 'true' } } as const;
    given(server).when({ type: 'Set', key: 'x', value: 'true' }).then(on);
    given(server, [on]).when({ type: 'Set', key: 'x', value: 'true' }).then();
    given(server, [on]).when({ type: 'Set', key: 'x', value: null }).then({ type: 'ServerSettingChanged', data: { key: 'x', from: 'true', to: null } });
    given(server, [on, { type: 'ServerSettingChanged', data: { key: 'x', from: 'true', to: null } }]).when({ type: 'Set', key: 'x', value: null }).then();
  });
});
