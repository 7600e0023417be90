import type { IncomingMessage } from 'node:http';
import type { Origin } from './command.js';

const origins = new WeakMap<object, Origin>();

/** Says by which of the API's doors a connection came: decided by the listener, never by what the client sends. */
export function markOrigin(socket: object, origin: Origin): void {
  origins.set(socket, origin);
}

export const originOf = (request: IncomingMessage): Origin => origins.get(request.socket) ?? 'http';
