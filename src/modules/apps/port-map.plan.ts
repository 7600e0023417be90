import { Rejected } from '../../events/decider.js';

/** Where the router listens, and which port of web's containers it asks: `http:80:5000`. */
export interface PortMap { readonly scheme: 'http'; readonly host: number; readonly container: number }

const KEY = 'ports';

const port = (text: string): number => (/^\d{1,5}$/.test(text) && Number(text) > 0 && Number(text) < 65536 ? Number(text) : 0);

/** Reads `http:80:5000`. @throws Rejected for what is none, or what the router has no port for */
export function parsePortMap(text: string): PortMap {
  const [scheme, host = '', container = '', ...more] = text.split(':');
  const known = scheme === 'http' || scheme === 'https';
  if (!known || more.length > 0 || port(host) === 0 || port(container) === 0) {
    throw new Rejected('ports.map', `'${text.slice(0, 60)}' is not a port map`, 'scheme:port of the router:port of the container, for example: http:80:3000');
  }
  if (scheme === 'https') throw new Rejected('ports.https', 'The router does not serve https yet', 'for example: http:80:3000');
  if (port(host) !== 80) throw new Rejected('ports.host', `The router listens for http on one port, and that is called 80 here: ${text}`, `say: http:80:${container}`);
  return { scheme, host: 80, container: port(container) };
}

/** The port that was set for web, as a part of a release's input; nothing when none was. */
export function listenOf(settings: Readonly<Record<string, string>>): { listen?: number } {
  return settings[KEY] === undefined ? {} : { listen: parsePortMap(settings[KEY]).container };
}
