import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_CHECK, parseAppJson, stripJsonc } from './app-json.js';

describe('app.json', () => {
  it('takes the first startup check of web', () => {
    const { check, formation, buildpacks } = parseAppJson(`{
      // a comment with "quotes"
      "healthchecks": { "web": [ { "type": "liveness", "path": "/live" }, { "type": "startup", "path": "/healthz", "timeout": 2.5, "attempts": 4, "wait": 0, } ] },
      /* formation */ "formation": { "web": { "quantity": 2 }, "worker": {}, },
      "buildpacks": [ { "url": "https://x/y" } ], "addons": ["x"],
    }`);
    expect(check).toEqual({ path: '/healthz', timeoutMs: 2500, attempts: 4, waitMs: 0 });
    expect(formation).toEqual({ web: 2 });
    expect(buildpacks).toEqual(['https://x/y']);
  });
  it('leaves out what is not said', () => {
    expect(parseAppJson('{}').check).toEqual(DEFAULT_CHECK);
    expect(parseAppJson('{"healthchecks":{"web":[{}],"worker":[{"path":"x"}]}}').check).toEqual(DEFAULT_CHECK);
  });
  it.each([
    ['{', 'app.json: '], ['[]', 'an object is needed'], ['{"healthchecks":[]}', 'healthchecks is an object'], ['{"healthchecks":{"web":{}}}', 'healthchecks.web is a list'],
    ['{"healthchecks":{"web":[{"path":"healthz"}]}}', 'path that starts with /'], ['{"healthchecks":{"web":[{"path":"/a b"}]}}', 'path that starts with /'], ['{"healthchecks":{"web":[{"attempts":0}]}}', 'attempts'],
    ['{"healthchecks":{"web":[{"timeout":"5"}]}}', 'timeout is a number of seconds'], ['{"formation":{"web":{"quantity":-1}}}', 'formation.web.quantity'],
  ])('refuses %s', (text, message) => { expect(() => parseAppJson(text)).toThrow(message); });
  it('strips nothing out of plain JSON', () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => { const text = JSON.stringify(value); expect(JSON.parse(stripJsonc(text))).toEqual(JSON.parse(text)); }));
  });
});
