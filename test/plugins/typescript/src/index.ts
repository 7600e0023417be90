import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { definePlugin } from 'berth/plugin';
import { entry, type Happened } from './entry.ts';

const fileOf = (data: string): string => join(data, 'diary');

export default definePlugin({
  commands: {
    diary: async ({ plugin }) => {
      const lines = (await readFile(fileOf(plugin.data), 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');
      return { say: lines, data: lines };
    },
    'diary:totals': ({ projections }) => {
      const { state, position } = projections!['lives']!;
      const apps = Object.values((state ?? {}) as Record<string, { name: string; lives: number }>);
      return { say: apps.map(({ name, lives }) => `${name} ${lives}`), data: { apps, position } };
    },
  },
  projections: {
    lives: {
      initial: {} as Record<string, { name: string; lives: number }>,
      fold: (apps, { type, data }) => {
        const { app, name } = data as { app: string; name: string };
        if (type === 'AppCreated') apps[app] = { name, lives: 0 };
        else if (type === 'AppDestroyed') delete apps[app];
        else if (apps[app]) apps[app].lives += 1;
      },
    },
  },
  hooks: {
    'after build': ({ output }) => ({ say: [(output as { bytes: number } | undefined)?.bytes ? 'there is an image' : 'there is none'] }),
  },
  channels: {
    page: async ({ plugin, channel: { options }, message, id, event }) => {
      if (options['key'] === 'wrong') return { error: `the key ${options['key']} does not fit` };
      await appendFile(fileOf(plugin.data), `${options['heading']} ${message.level} ${event?.type ?? 'test'} ${message.title}\n`);
      return { say: [`wrote ${id}`] };
    },
  },
  builders: {
    page: ({ files, stack }) => {
      const text = files['diary.page'];
      return text === undefined ? { detect: null } : { detect: { reason: 'diary.page is there' }, plan: { dockerfile: `FROM ${stack.run}\nCOPY diary.page /page\n`, processTypes: { web: 'cat /page' }, port: 4000, details: [text.trim()] } };
    },
  },
  event: async ({ plugin, event }) => {
    console.log('what a plugin prints is no answer');
    await appendFile(fileOf(plugin.data), `${entry(event as Happened)}\n`);
  },
});
