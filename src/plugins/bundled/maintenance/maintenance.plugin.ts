import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { gunzipSync } from 'node:zlib';
import { extract } from 'tar-stream';
import type { BundledPlugin } from '../../contract/define.js';
import { APP, appOf, manifestOf, refused, report } from '../kit.js';

/** bytes: the router gives the page out of its buffer */
const PAGE_MAX = 15_000;
const FILE = 'maintenance.html';

/** The page that was piped in: HTML as it is, or `maintenance.html` of a tar archive. Null: there is none in it. @throws for an archive that is broken */
export async function pageOf(piped: Buffer): Promise<string | null> {
  const bytes = piped[0] === 0x1f && piped[1] === 0x8b ? gunzipSync(piped, { maxOutputLength: 16 << 20 }) : piped;
  if (bytes.subarray(257, 262).toString('latin1') !== 'ustar') return bytes.toString('utf8');
  const tar = extract();
  const pages: Buffer[][] = [];
  tar.on('entry', (header, stream, next) => {
    const found: Buffer[] = [];
    if (header.type === 'file' && header.name.replace(/^\.\//, '') === FILE) pages.push(found);
    stream.on('data', (piece) => { found.push(piece as Buffer); }).on('end', () => next()).on('error', next);
  });
  await pipeline(Readable.from([bytes]), tar);
  return pages[0] ? Buffer.concat(pages[0]).toString('utf8') : null;
}

const command = (word: string, summary: string, more: object = {}) => ({ name: `maintenance:${word}`, summary, arguments: [APP], ...more });

/** Settings of an app: `enabled` (`on`), `page` (HTML). */
export const maintenance: BundledPlugin = {
  manifest: manifestOf('maintenance', 'A page with 503 instead of an app, which keeps running', {
    commands: [
      command('enable', 'Answer 503 with a page instead of the app; its containers keep running'), command('disable', 'Let the app answer again'),
      command('status', 'Say whether an app is in maintenance', { reads: true }), command('report', 'Show the maintenance settings of an app', { reads: true }),
      command('custom-page', 'Use a page of your own: HTML, or a tar archive with maintenance.html, is piped in', { example: 'berth maintenance:custom-page blog < maintenance.html', piped: 'the page, or an archive that has it' }),
    ],
    hooks: [{ step: 'route', when: 'before' }],
  }),
  handlers: {
    commands: {
      'maintenance:enable': (call) => ({ say: [`-----> Enabling maintenance mode for ${appOf(call).name}`], settings: { enabled: 'on' }, ...(appOf(call).settings['enabled'] !== 'on' && { deploy: 'domains' }) }),
      'maintenance:disable': (call) => ({ say: [`-----> Disabling maintenance mode for ${appOf(call).name}`], settings: { enabled: null }, ...(appOf(call).settings['enabled'] === 'on' && { deploy: 'domains' }) }),
      'maintenance:status': (call) => {
        const enabled = appOf(call).settings['enabled'] === 'on';
        return { say: [String(enabled)], data: { enabled } };
      },
      'maintenance:report': (call) => {
        const { name, settings } = appOf(call);
        return report(`${name} maintenance information`, { 'maintenance enabled': String(settings['enabled'] === 'on'), 'maintenance page': settings['page'] === undefined ? 'the router\'s own' : `its own, ${Buffer.byteLength(settings['page'])} bytes` });
      },
      'maintenance:custom-page': async (call) => {
        const { name, settings } = appOf(call);
        const bytes = Buffer.from(call.piped ?? '', 'base64');
        if (bytes.length === 0) return { say: [`-----> ${name} has the router's own maintenance page`], settings: { page: null }, ...(settings['enabled'] === 'on' && { deploy: 'domains' }) };
        const page = await pageOf(bytes).catch((error: unknown) => error as Error);
        if (page instanceof Error) return refused(`The archive cannot be read: ${page.message}`, `pipe in HTML, or a tar archive with ${FILE}`);
        if (page === null) return refused(`There is no ${FILE} in the archive`, `tar -c ${FILE} | berth maintenance:custom-page ${name}`);
        if (page.includes('\0') || page.includes('\uFFFD')) return refused('The page is not text in UTF-8', 'save it as UTF-8');
        if (page.trim() === '') return refused('The page is empty', 'to have the router\'s own again, pipe in nothing: berth maintenance:custom-page <app> < /dev/null');
        if (Buffer.byteLength(page) > PAGE_MAX) return refused(`The page has ${Buffer.byteLength(page)} bytes, and at most ${PAGE_MAX} fit into the router's buffer`, 'take out what is embedded (images, fonts), or load it from another host');
        return { say: [`-----> ${name} has a maintenance page of its own, ${Buffer.byteLength(page)} bytes`], settings: { page }, ...(settings['enabled'] === 'on' && { deploy: 'domains' }) };
      },
    },
    hooks: {
      'before route': ({ app: { settings } }) => (settings['enabled'] === 'on' ? { add: { router: { maintenance: { page: settings['page'] ?? null } } } } : {}),
    },
  },
};
