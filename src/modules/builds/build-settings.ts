import { Rejected } from '../../events/decider.js';
import { shown } from '../apps/app.decider.js';

/** What is kept of one property: under which name, what it is, and whether a value will do. */
interface Property { readonly key: string; readonly about: string; readonly ok: (value: string) => boolean; readonly form: string }

const inside = (value: string): boolean => /^(?!\/)(?!.*(?:^|\/)\.\.(?:\/|$))[^\0-\x1f\x7f]{1,500}$/.test(value) && value.split('/').some((part) => part !== '' && part !== '.');
const path = (key: string, about: string): Property => ({ key, about, ok: inside, form: 'a path in the repository, without / in front and without ..' });
const names = (key: string, about: string): Property => ({ key, about, ok: (value) => /^[A-Za-z_][A-Za-z0-9_]*(?:[\s,]+[A-Za-z_][A-Za-z0-9_]*)*$/.test(value), form: 'names of config vars, separated by commas' });

export const DOCKERFILE: Readonly<Record<string, Property>> = {
  'dockerfile-path': path('dockerfile-path', 'where the Dockerfile is'),
  target: { key: 'dockerfile-target', about: 'the stage that is built', ok: (value) => /^[A-Za-z0-9][A-Za-z0-9_.-]{0,100}$/.test(value), form: 'the name of a stage' },
  'build-args': names('build-args', 'config vars that the build sees as ARG; what it writes down of them stays in the image'),
  'build-secrets': names('build-secrets', 'config vars that RUN --mount=type=secret,id=NAME sees, and nobody else'),
  platform: { key: 'platform', about: 'the platform to build for', ok: (value) => /^[a-z0-9]{1,20}\/[a-z0-9]{1,20}(?:\/[a-z0-9]{1,20})?$/.test(value), form: 'for example linux/amd64' },
};

/** a builder that a plugin brings */
export const PLUGIN = /^plugin:([a-z0-9-]{1,40})\/([a-z0-9-]{1,40})$/;

export const BUILDER: Readonly<Record<string, Property>> = {
  selected: { key: 'builder', about: 'the builder, instead of the one that is detected', ok: (value) => ['dockerfile', 'buildpacks', 'compose', 'pack', 'nixpacks', 'railpack'].includes(value) || PLUGIN.test(value), form: 'dockerfile, buildpacks, compose, pack, nixpacks, railpack or plugin:<plugin>/<builder>' },
  'build-dir': path('build-dir', 'the folder of the repository that is the app'),
  'procfile-path': path('procfile-path', 'where the Procfile is'),
  'appjson-path': path('appjson-path', 'where app.json is'),
  'build-args': DOCKERFILE['build-args']!,
  'static-root': path('static-root', 'the folder of a static site'),
  'static-spa': { key: 'static-spa', about: 'whether paths that are not there show index.html', ok: (value) => ['on', 'off', 'auto'].includes(value), form: 'on, off or auto' },
  'document-root': path('document-root', 'the folder that a PHP app is served from'),
  'pack-builder': { key: 'pack-builder', about: 'the builder image of pack', ok: (value) => /^[a-z0-9][a-zA-Z0-9._:/@-]{0,300}$/.test(value), form: 'the name of an image' },
};

const TYPE = /^process\.([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)$/;

/** The setting that a property of one of the commands stands for. @throws Rejected for a property or a value that is none */
export function settingOf(properties: Readonly<Record<string, Property>>, property: string, value: string | undefined): string {
  const known = Object.hasOwn(properties, property) ? properties[property]! : properties === BUILDER && TYPE.test(property) ? { key: property, ok: (text: string) => !text.includes('\0') && text.trim() !== '', form: 'a command' } : null;
  if (known === null) throw new Rejected('builder.property', `There is no property ${shown(property)}`, `there are: ${Object.keys(properties).join(', ')}${properties === BUILDER ? ', process.<type>' : ''}`);
  if (value !== undefined && !known.ok(value)) throw new Rejected('builder.value', `${property} ${shown(value)}: ${known.form} is needed`);
  return known.key;
}
