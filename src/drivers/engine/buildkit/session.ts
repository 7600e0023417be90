import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';
import grpc from '@grpc/grpc-js';
import type Docker from 'dockerode';
import type { RegistryLogin } from '../registry-login.js';
import { decode, encode } from './proto.js';

function method(path: string, request: string, response: string, responseStream = false): grpc.MethodDefinition<Record<string, unknown>, object> {
  return {
    path, requestStream: false, responseStream,
    requestSerialize: (value) => encode(request, value),
    requestDeserialize: (bytes) => decode(request, bytes),
    responseSerialize: (value) => encode(response, value),
    responseDeserialize: (bytes) => decode(response, bytes),
  };
}

const SERVING = { status: 1 };

/**
 * The way back from BuildKit to us while a build runs: it asks for secrets and for logins of registries here. It also asks every second whether we are
 * well and drops a session that has no health service; dockerode's own has none.
 */
export interface BuildSession { readonly id: string; close(): void }

export async function openSession(docker: Docker, secrets: Readonly<Record<string, string | Buffer>>, login: (host: string) => Promise<RegistryLogin | undefined>): Promise<BuildSession> {
  const id = randomUUID();
  const socket = await new Promise<Duplex>((resolve, reject) => {
    docker.modem.dial({
      method: 'POST', path: '/session', hijack: true,
      headers: {
        Upgrade: 'h2c',
        'X-Docker-Expose-Session-Uuid': id,
        'X-Docker-Expose-Session-Name': 'berth',
        'X-Docker-Expose-Session-Grpc-Method': ['/moby.buildkit.secrets.v1.Secrets/GetSecret', '/moby.filesync.v1.Auth/Credentials'],
      },
      statusCodes: { 200: true, 500: 'server error' },
    } as never, (error: unknown, upgraded: unknown) => (error ? reject(error) : resolve(upgraded as Duplex)));
  });
  socket.on('error', () => {});
  const server = new grpc.Server();
  server.addService({ Check: method('/grpc.health.v1.Health/Check', 'HealthCheckRequest', 'HealthCheckResponse'), Watch: method('/grpc.health.v1.Health/Watch', 'HealthCheckRequest', 'HealthCheckResponse', true) }, {
    Check: (_call: unknown, answer: grpc.sendUnaryData<object>) => answer(null, SERVING),
    Watch: (call: grpc.ServerWritableStream<object, object>) => void call.write(SERVING),
  });
  server.addService({ Credentials: method('/moby.filesync.v1.Auth/Credentials', 'CredentialsRequest', 'CredentialsResponse') }, {
    Credentials: ({ request }: { request: { Host?: string } }, answer: grpc.sendUnaryData<object>) => {
      login(request.Host ?? '').then((found) => answer(null, found === undefined ? {} : { Username: found.user, Secret: found.password }), (error: Error) => answer({ code: grpc.status.INTERNAL, details: error.message }));
    },
  });
  server.addService({ GetSecret: method('/moby.buildkit.secrets.v1.Secrets/GetSecret', 'GetSecretRequest', 'GetSecretResponse') }, {
    GetSecret: ({ request }: { request: { ID?: string } }, answer: grpc.sendUnaryData<object>) => {
      const value = Object.hasOwn(secrets, request.ID ?? '') ? secrets[request.ID ?? ''] : undefined;
      if (value === undefined) answer({ code: grpc.status.NOT_FOUND, details: `no secret ${request.ID}` });
      else answer(null, { data: Buffer.from(value) });
    },
  });
  server.createConnectionInjector(grpc.ServerCredentials.createInsecure()).injectConnection(socket);
  return {
    id,
    close() {
      server.forceShutdown();
      socket.destroy();
    },
  };
}
