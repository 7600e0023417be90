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
  },
  hooks: {
    'after build': ({ output }) => ({ say: [(output as { bytes: number } | undefined)?.bytes ? 'there is an image' : 'there is none'] }),
  },
  event: async ({ plugin, event }) => {
    console.log('what a plugin prints is no answer');
    await appendFile(fileOf(plugin.data), `${entry(event as Happened)}\n`);
  },
});
