import { describe, expect, it } from 'vitest';
import { refusedIn } from './dockerfile-refused.js';

describe('what a Dockerfile may not ask for', () => {
  it.each([
    ['FROM a\nRUN --network=host id', 2, /RUN --network=host is not allowed/],
    ['FROM a\nRUN --mount=type=cache,target=/x --network="host" id', 2, /not on the server's network/],
    ['FROM a\nRUN \\\n  --network=$NET \\\n  id', 2, /--network=\$NET/],
    ['FROM a\n\nRUN --security=insecure mount', 3, /--security=insecure is not allowed/],
    ['FROM a\nRUN --device=nvidia.com/gpu=all id', 2, /no device/],
    ['FROM a\nADD http://127.0.0.1:3737/ /x', 2, /asks the server itself/],
    ['FROM a\nADD --chown=1 https://user:pw@localhost/a b /x', 2, /asks the server itself/],
    ['FROM a\nADD http://[::1]:80/ /x', 2, /asks the server itself/],
    ['FROM a\nADD ["http://0/", "/x"]', 2, /asks the server itself/],
  ])('%j', (text, line, what) => {
    expect(refusedIn(text)).toMatchObject({ line, what: expect.stringMatching(what) as string });
  });
  it.each(['FROM a\nRUN --network=none id', 'FROM a\nRUN --network=default --security=sandbox id', 'FROM a\nRUN docker build --network=host .', 'FROM a\nADD https://127.example.com/x /x\nADD https://localhost.example.com/ /y', 'FROM a\nCOPY http:/ /x', '', 'FROM a\nRUN --mount=type=cache,target=/x'])('but %j', (text) => {
    expect(refusedIn(text)).toBeNull();
  });
});
