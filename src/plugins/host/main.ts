import { registerHooks } from 'node:module';
import { pathToFileURL } from 'node:url';
import type { PluginManifest } from '../../events/types/plugin.events.js';
import { answer, missingHandlers, type Handlers } from '../contract/define.js';
import type { PluginCall } from '../contract/protocol.js';

/** Speaks the executables' protocol for a plugin's module: `plugin-host.cjs <file>`; one call, one answer. */
type Asked = PluginCall | { readonly call: 'describe'; readonly manifest: PluginManifest };

const say = process.stdout.write.bind(process.stdout);
// what the module prints is not its answer
process.stdout.write = process.stderr.write.bind(process.stderr) as typeof process.stdout.write;
registerHooks({
  resolve: (specifier, context, next) => (specifier === 'berth/plugin' ? { url: 'data:text/javascript,export const definePlugin = (handlers) => handlers;', shortCircuit: true } : next(specifier, context)),
});

async function main(): Promise<void> {
  const pieces: Buffer[] = [];
  for await (const piece of process.stdin as AsyncIterable<Buffer>) pieces.push(piece);
  const asked = JSON.parse(Buffer.concat(pieces).toString('utf8')) as Asked;
  const { default: handlers } = (await import(pathToFileURL(process.argv[2]!).href)) as { default?: Handlers };
  if (typeof handlers !== 'object' || handlers === null) throw new Error('it has no default export of definePlugin({ … })');
  const given = asked.call === 'describe' ? { missing: missingHandlers(asked.manifest, handlers) } : await answer(handlers, asked);
  await new Promise((resolve) => { say(JSON.stringify(given), resolve); });
}

main().then(() => process.exit(0), (error: unknown) => {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exit(1);
});
