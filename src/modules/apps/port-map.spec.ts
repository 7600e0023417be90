import { describe, expect, it } from 'vitest';
import { listenOf, parsePortMap } from './port-map.plan.js';

describe('a port map', () => {
  it('says which port of the container answers', () => {
    expect(parsePortMap('http:80:3000')).toEqual({ scheme: 'http', host: 80, container: 3000 });
    expect(listenOf({ ports: 'http:80:3000' })).toEqual({ listen: 3000 });
    expect(listenOf({})).toEqual({});
  });

  it.each(['', '3000', 'http:80', 'http:80:0', 'http:80:65536', 'http:80:3000:1', 'tcp:80:3000', 'http::3000', 'http:80:-1', 'http:80: 3000', 'x'.repeat(9999)])('refuses %j', (text) => {
    expect(() => parsePortMap(text)).toThrow(/is not a port map/);
  });

  it('is of a port that the router has', () => {
    expect(() => parsePortMap('http:8080:3000')).toThrow(/listens for http on one port/);
    expect(() => parsePortMap('https:443:3000')).toThrow(/https/);
  });
});
