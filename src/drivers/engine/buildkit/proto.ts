import protobuf from 'protobufjs';

/** The part of BuildKit's protocol that we speak, as schema text: no `.proto` files to find at run time. */
const SCHEMA = `
syntax = "proto3";
message Timestamp { int64 seconds = 1; int32 nanos = 2; }
message Vertex { string digest = 1; repeated string inputs = 2; string name = 3; bool cached = 4; Timestamp started = 5; Timestamp completed = 6; string error = 7; }
message VertexLog { string vertex = 1; Timestamp timestamp = 2; int64 stream = 3; bytes msg = 4; }
message StatusResponse { repeated Vertex vertexes = 1; repeated VertexLog logs = 3; }
message GetSecretRequest { string ID = 1; map<string, string> annotations = 2; }
message GetSecretResponse { bytes data = 1; }
message CredentialsRequest { string Host = 1; }
message CredentialsResponse { string Username = 1; string Secret = 2; }
message HealthCheckRequest { string service = 1; }
message HealthCheckResponse { int32 status = 1; }
`;

const root = protobuf.parse(SCHEMA, { keepCase: true }).root;
const types = new Map<string, protobuf.Type>();

function type(name: string): protobuf.Type {
  let found = types.get(name);
  if (!found) types.set(name, (found = root.lookupType(name)));
  return found;
}

export function encode(name: string, value: object): Buffer {
  const of = type(name);
  return Buffer.from(of.encode(of.fromObject(value)).finish());
}

export function decode<T>(name: string, bytes: Buffer): T {
  const of = type(name);
  return of.toObject(of.decode(bytes), { longs: Number, bytes: Buffer, arrays: true }) as T;
}

interface Timestamp { readonly seconds?: number; readonly nanos?: number }
export interface Vertex { readonly digest: string; readonly name?: string; readonly cached?: boolean; readonly started?: Timestamp; readonly completed?: Timestamp; readonly error?: string }
export interface VertexLog { readonly vertex: string; readonly timestamp?: Timestamp; readonly stream?: number; readonly msg?: Buffer }
export interface Status { readonly vertexes: readonly Vertex[]; readonly logs: readonly VertexLog[] }

export function decodeStatus(bytes: Buffer): Status {
  return decode<Status>('StatusResponse', bytes);
}

/** ms since the epoch */
export function millis(at: Timestamp): number {
  return (at.seconds ?? 0) * 1000 + (at.nanos ?? 0) / 1e6;
}
