import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** As much of S3 as one object needs, in memory; the whole of it is asked of a real server by test:services. Knows the key `AKIATEST`. */
export class SmallS3 {
  readonly objects = new Map<string, Buffer>();
  /** so many requests are answered with 500 */
  wrong = 0;
  /** looks at every request that is whole; one that it answers `true` for is cut off without an answer */
  cut: (method: string) => Promise<boolean> | boolean = () => false;

  private constructor(private readonly server: Server) {}

  static async start(): Promise<SmallS3> {
    const server = createServer();
    const small = new SmallS3(server);
    server.on('request', (request: IncomingMessage, response) => {
      const body: Buffer[] = [];
      request.on('error', () => {}).on('data', (piece: Buffer) => body.push(piece)).on('end', () => void (async () => {
        if (await small.cut(request.method!)) return void response.destroy();
        const key = new URL(request.url!, 'http://x').pathname;
        if (!request.headers.authorization?.includes('AKIATEST')) return void response.writeHead(403, { 'content-type': 'application/xml' }).end('<Error><Code>InvalidAccessKeyId</Code><Message>no</Message></Error>');
        if (small.wrong > 0 && (small.wrong -= 1) >= 0) return void response.writeHead(500).end();
        if (request.method === 'PUT') small.objects.set(key, Buffer.concat(body));
        const found = small.objects.get(key);
        if (request.method === 'DELETE') small.objects.delete(key);
        response.writeHead(found ? 200 : 404, { etag: '"x"' }).end(request.method === 'GET' ? found : undefined);
      })());
    });
    await new Promise<void>((done) => { server.listen(0, '127.0.0.1', done); });
    return small;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}
