import type { Step, StepInput } from '../../events/types/deploy.events.js';
import type { PluginArgument, PluginManifest } from '../../events/types/plugin.events.js';
import type { PluginCall, SeenEvent } from '../../plugins/contract/protocol.js';
import { VERSION } from '../../version.js';

const APP = { id: 'k3v9q2mzxa', name: 'sample', settings: {} };
const CHECK = { path: null, timeoutMs: 5000, attempts: 3, waitMs: 5000 };
const COMMIT = '9f1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c';
const PLAN = { builder: 'dockerfile', buildpack: null, summary: 'Dockerfile', dockerfilePath: 'Dockerfile', dockerfile: null, buildArgs: [], processTypes: { web: null }, releaseCommand: null, check: CHECK, port: 5000 } as const;

/** images and user of a stack */
const STACK = { build: 'berth/stack-build:13-1', run: 'berth/stack-run:13-1', versions: { python: '3.13', node: '24.0' }, user: { name: 'app', uid: 1000, home: '/app' } } as const;

const who = { app: APP.id, name: APP.name };
/** What each step of a small app is given. */
const INPUTS: { readonly [S in Step]: StepInput } = {
  clone: { ...who, repo: '/var/lib/berth/repos/k3v9q2mzxa.git', sha: COMMIT, quarantine: null },
  detect: { ...who, source: '/var/lib/berth/sources/sample.tar', configVersion: 1, settings: {} },
  build: { ...who, source: '/var/lib/berth/sources/sample.tar', plan: PLAN, configVersion: 1, limits: { memory: 0, cpus: 0, timeoutMs: 1_800_000 }, sha: COMMIT },
  release: { ...who, image: 'berth/sample:1', imageId: `sha256:${'0'.repeat(64)}`, sha: COMMIT, configVersion: 1, processTypes: { web: null }, releaseCommand: null, check: CHECK, port: 5000, number: 1, isNew: true, runReleaseCommand: true, formation: { web: 1 }, limits: { memory: 0, cpus: 0 }, hosts: ['sample.localhost'], keep: [] },
  route: { ...who, number: 1, hosts: ['sample.localhost'], containers: [{ id: 'c1', name: 'sample.web.1.d1a1', type: 'web', index: 1, ip: '10.208.0.2', port: 5000 }], retire: [], check: CHECK },
};

const wordFor = ({ name, kind, type }: PluginArgument): unknown => (kind === 'rest' ? ['sample'] : type === 'boolean' ? true : type === 'number' ? 1 : name === 'app' ? APP.name : 'sample');

/** One call for everything that a manifest declares. Pure. */
export function sampleCalls(manifest: PluginManifest, data: string): { readonly what: string; readonly call: PluginCall }[] {
  const common = { protocol: 1, plugin: { name: manifest.name, version: manifest.version, data }, berth: { version: VERSION, instance: 'berth' }, settings: {} } as const;
  return [
    ...manifest.commands.map(({ name, arguments: words }) => ({
      what: `command ${name}`,
      call: { ...common, call: 'command', command: name, by: 'root@sample', ...(manifest.projections && { projections: Object.fromEntries(manifest.projections.map((each) => [each.name, { state: null, position: 0 }])) }), input: Object.fromEntries(words.filter((word) => !word.optional).map((word) => [word.name, wordFor(word)])), ...(words.some((word) => word.name === 'app') && { app: APP }) } as PluginCall,
    })),
    ...manifest.hooks.map(({ step, when }) => ({ what: `hook ${when} ${step}`, call: { ...common, call: 'hook', app: APP, hook: { step, when }, deploy: 1, job: `${APP.id}.1.${step}`, attempt: 1, input: INPUTS[step] } as PluginCall })),
    ...(manifest.events?.types ?? []).map((type) => ({ what: `event ${type}`, call: { ...common, call: 'event', app: APP, event: sampleEvent(type) } as PluginCall })),
    ...(manifest.builders ?? []).map(({ name }) => ({ what: `builder ${name}`, call: { ...common, call: 'builder', app: APP, builder: name, paths: ['README.md'], files: {}, set: {}, config: {}, stack: STACK } as PluginCall })),
    ...(manifest.projections ?? []).map(({ name, types }) => ({ what: `projection ${name}`, call: { ...common, call: 'project', projection: name, state: null, events: [...types, types[0]!].map((type, i) => sampleEvent(type, i + 1)) } as PluginCall })),
    ...(manifest.channels ?? []).map(({ name, options }) => ({
      what: `channel ${name}`,
      call: { ...common, call: 'notify', app: APP, channel: { name, options: Object.fromEntries(options.filter((option) => !option.optional).map((option) => [option.name, 'sample'])) }, message: { title: 'sample: deploy 1 failed', text: 'the release command ended with exit code 1', level: 'error' }, id: 'msg_sample', event: null } as PluginCall,
    })),
  ];
}

/** What an event of that type may look like. */
const sampleEvent = (type: string, position = 1): SeenEvent => ({ id: `00000000-0000-4000-8000-${String(position).padStart(12, '0')}`, position, stream: `pipeline-${APP.id}`, type, at: 1_795_370_000_000 + position * 1000, actor: 'root@sample', data: { app: APP.id, deploy: 1 } });

/** The events of a case: what it does not say of each is as in the samples. */
export const sampleEvents = (given: readonly Partial<SeenEvent>[]): SeenEvent[] => given.map((event, i) => ({ ...sampleEvent(event.type ?? '', i + 1), ...event }));

/** Where `is` is not what was expected; objects may hold more than that. Pure. */
export function differences(wanted: unknown, is: unknown, path: string): string[] {
  if (wanted === undefined) return [];
  if (typeof wanted !== 'object' || wanted === null) return Object.is(wanted, is) ? [] : [`${path} is ${JSON.stringify(is)}, not ${JSON.stringify(wanted)}`];
  if (typeof is !== 'object' || is === null || Array.isArray(wanted) !== Array.isArray(is)) return [`${path} is ${JSON.stringify(is)}, not ${JSON.stringify(wanted)}`];
  if (Array.isArray(wanted) && wanted.length !== (is as unknown[]).length) return [`${path} is ${JSON.stringify(is)}, not ${JSON.stringify(wanted)}`];
  return Object.entries(wanted).flatMap(([key, value]) => differences(value, (is as Record<string, unknown>)[key], `${path}.${key}`));
}
