import { readFile } from 'node:fs/promises';

export interface Listener { readonly port: number; /** reached from inside the container only */ readonly loopback: boolean }

const LISTEN = '0A';

/** The listening sockets of `/proc/net/tcp` or `tcp6`. Pure. */
export function parseListeners(text: string): Listener[] {
  return text.split('\n').slice(1).flatMap((line) => {
    const [, local, , state] = line.trim().split(/\s+/);
    const [address, port] = (local ?? '').split(':');
    if (state !== LISTEN || !address || !port) return [];
    // the engine's name server sits on 127.0.0.11 in every container of a user network
    if (address === '0B00007F') return [];
    const loopback = address.length === 8 ? address.endsWith('7F') : address === '00000000000000000000000001000000' || /^0{16}FFFF0000.{6}7F$/.test(address);
    return [{ port: Number.parseInt(port, 16), loopback }];
  });
}

/** What a container's processes listen on, seen from the host. @param pid of the container's first process */
export async function listeners(pid: number): Promise<readonly Listener[]> {
  const texts = await Promise.all(['tcp', 'tcp6'].map((name) => readFile(`/proc/${pid}/net/${name}`, 'utf8').catch(() => '')));
  const found = new Map<number, boolean>();
  for (const { port, loopback } of texts.flatMap(parseListeners)) found.set(port, loopback && (found.get(port) ?? true));
  return [...found].map(([port, loopback]) => ({ port, loopback })).toSorted((a, b) => a.port - b.port);
}

/** One sentence and what to do, when the port that was expected does not answer. */
export function explain(found: readonly Listener[], port: number): { readonly text: string; readonly hint: string } {
  const right = found.find((listener) => listener.port === port);
  if (right?.loopback) return { text: `the app listens on 127.0.0.1:${port} only`, hint: `listen on 0.0.0.0:$PORT: nothing outside the container reaches 127.0.0.1` };
  if (right) return { text: `something listens on port ${port} but does not take connections`, hint: 'look at the app\'s log above' };
  if (found.length === 0) return { text: `the app listens on no port, expected $PORT=${port}`, hint: 'start a server on 0.0.0.0:$PORT, or raise the attempts of the check if it needs longer' };
  const ports = found.map((listener) => `${listener.port}${listener.loopback ? ' (on 127.0.0.1 only)' : ''}`).join(', ');
  return { text: `the app listens on port ${ports}, expected $PORT=${port}`, hint: `read the port from $PORT and listen on 0.0.0.0, or say EXPOSE ${found[0]?.port} in the Dockerfile` };
}
