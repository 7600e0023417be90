import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { isPrivate, isPrivateHost, post, PrivateAddress } from './call.js';

describe('calls to elsewhere', () => {
  it('know what is private, in every spelling', () => {
    for (const address of ['127.0.0.1', '10.1.2.3', '172.31.0.1', '192.168.1.1', '169.254.169.254', '100.64.0.1', '0.0.0.0', '255.255.255.255', '::1', '::', '::ffff:127.0.0.1', '::ffff:7f00:1', '64:ff9b::7f00:1', 'fe80::1', 'fd00::1', 'ff02::1']) expect(isPrivate(address), address).toBe(true);
    for (const address of ['1.1.1.1', '172.32.0.1', '100.128.0.1', '2606:4700::1111']) expect(isPrivate(address), address).toBe(false);
  });
  it('know a URL whose host is a private address', () => {
    for (const host of ['127.0.0.1', '0x7f.1', '2130706433', '[::1]', '[::ffff:10.0.0.1]']) expect(isPrivateHost(new URL(`http://${host}/`).hostname), host).toBe(true);
    for (const host of ['1.1.1.1', '[2606:4700::1111]', 'localhost', 'a.example']) expect(isPrivateHost(new URL(`http://${host}/`).hostname), host).toBe(false);
  });
  it('go to a private address only where that was said, by name or number', async () => {
    const got: string[] = [];
    const server = createServer((request, response) => {
      request.setEncoding('utf8').on('data', (piece: string) => got.push(piece)).on('end', () => {
        if (request.url === '/moved') response.writeHead(302, { location: '/' }).end();
        else if (request.url === '/slow') setTimeout(() => response.end(), 3000).unref();
        else if (request.url === '/endless') { response.on('error', () => undefined); const pump = (): void => { if (!response.destroyed) response.write('x'.repeat(16_384), pump); }; pump(); }
        else response.end('thanks');
      });
    });
    await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
    const { port } = server.address() as AddressInfo;
    const call = (url: string, anywhere: boolean, timeoutMs = 5000) => post({ url, headers: { 'x-a': '1' }, body: '{}', timeoutMs, signal: new AbortController().signal, anywhere });
    try {
      for (const host of ['127.0.0.1', 'localhost', '[::1]', '[::ffff:127.0.0.1]', '2130706433', '0x7f.1']) await expect(call(`http://${host}:${port}/`, false), host).rejects.toThrow(PrivateAddress);
      expect(got).toEqual([]);
      expect(await call(`http://127.0.0.1:${port}/`, true)).toMatchObject({ status: 200, text: 'thanks' });
      expect(await call(`http://127.0.0.1:${port}/moved`, true)).toMatchObject({ status: 302 });
      expect(got).toEqual(['{}', '{}']);
      expect((await call(`http://127.0.0.1:${port}/endless`, true)).text).toHaveLength(500);
      await expect(call(`http://127.0.0.1:${port}/slow`, true, 200)).rejects.toThrow(/no answer within/);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});
