// Builds dist/: `node scripts/build.mjs [--out DIR] [--only cli]`. Types are checked elsewhere (npm run check).
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { rolldown } from 'rolldown';

/** Small programs that start for every command: one file each, no module loader, nothing shared. */
const PROGRAMS = {
  cli: 'src/cli/berth.ts',
  shell: 'src/cli/shell.ts',
  'pre-receive': 'src/cli/pre-receive.ts',
  'proc-receive': 'src/cli/proc-receive.ts',
  'plugin-host': 'src/plugins/host/main.ts',
};

/** Long-running processes: ES modules with shared chunks. */
const PROCESSES = {
  api: 'src/modules/main.ts',
  offline: 'src/modules/offline/main.ts',
  'worker-clone': 'src/workers/clone/main.ts',
  'worker-detect': 'src/workers/detect/main.ts',
  'worker-build': 'src/workers/build/main.ts',
  'worker-release': 'src/workers/release/main.ts',
  'worker-route': 'src/workers/route/main.ts',
  'worker-service': 'src/workers/service/main.ts',
  'router-init': 'src/drivers/router/init.main.ts',
  'stack-build': 'src/drivers/stack/stack-build.main.ts',
};

/** Never needed, or native: asked for only behind a `try`. */
const EXTERNAL = [/^@nestjs\/(microservices|websockets)(\/|$)/, '@fastify/view', 'pg-native', 'cpu-features', /\.node$/];

/**
 * Never reached from what we use, but loaded by those who could: 2 MB of source in every process. Docker over SSH, BuildKit sessions of
 * dockerode (we have our own), BullMQ's own counting of times, class-validator's telephone numbers.
 */
const UNUSED = [[/^ssh2$/, 'docker-modem'], [/^\.\/session$/, 'dockerode'], [/^cron-parser$/, 'bullmq'], [/^libphonenumber-js(\/|$)/, 'class-validator']];

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const { values } = parseArgs({ options: { out: { type: 'string', default: join(root, 'dist') }, only: { type: 'string' } } });
const out = resolve(values.out);
const started = performance.now();

// Some CommonJS packages look for files beside their own: in a bundle they are told where they were. node_modules stays in place (the pinned Node lies in it).
const ownFolder = {
  name: 'own-folder',
  transform: {
    filter: { id: /node_modules\/.*\.c?js$/, code: /__(dirname|filename)\b/ },
    handler(code, id) {
      const file = JSON.stringify(`/${relative(root, id)}`);
      const folder = JSON.stringify(`/${relative(root, dirname(id))}`);
      const hashbang = code.startsWith('#!') ? code.indexOf('\n') : 0;
      return { code: `var __filename = globalThis.__berthRoot + ${file}, __dirname = globalThis.__berthRoot + ${folder};${code.slice(hashbang)}`, map: null };
    },
  },
};
const unused = {
  name: 'unused',
  resolveId: {
    filter: { id: UNUSED.map(([id]) => id) },
    handler: (id, importer) => (UNUSED.some(([wanted, by]) => wanted.test(id) && importer?.includes(`/node_modules/${by}/`)) ? `\0unused:${id}` : null),
  },
  load: { filter: { id: /^\0unused:/ }, handler: () => 'module.exports = {};' },
};
// V8 keeps a whole program in two bytes a character for a single one that is not Latin: half of the source's memory, in each of six processes.
const ascii = {
  name: 'ascii',
  generateBundle(_, files) {
    for (const file of Object.values(files)) {
      if (file.type === 'chunk') file.code = file.code.replace(/[^\x00-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
    }
  },
};
const findRoot = out === join(root, 'dist') ? "import.meta.dirname.replace(/\\/dist(\\/chunks)?$/, '')" : JSON.stringify(root);

async function bundle(input, output) {
  const build = await rolldown({
    input, cwd: root, platform: 'node', tsconfig: join(root, 'tsconfig.json'), external: EXTERNAL, logLevel: 'warn', plugins: [unused, ownFolder, ascii],
    onLog(level, log, report) {
      // dependencies' own habits, nothing to be done about here
      if (['EVAL', 'UNRESOLVED_IMPORT', 'CIRCULAR_DEPENDENCY', 'COMMONJS_VARIABLE_IN_ESM'].includes(log.code) && /node_modules/.test(log.id ?? log.message)) return;
      report(level, log);
    },
  });
  try {
    return (await build.write(output)).output.map(({ fileName }) => fileName);
  } finally {
    await build.close();
  }
}

await Promise.all(Object.entries(PROGRAMS).map(([name, file]) =>
  bundle(join(root, file), { file: join(out, `${name}.cjs`), format: 'cjs', minify: true, codeSplitting: false })));

let processes = {};
if (values.only !== 'cli') {
  processes = Object.fromEntries(Object.entries(PROCESSES).filter(([name, file]) => {
    if (existsSync(join(root, file))) return true;
    console.log(`       ${name} left out: ${file} is not there yet`);
    return false;
  }));
  if (Object.keys(processes).length > 0) {
    const written = new Set(await bundle(Object.fromEntries(Object.entries(processes).map(([name, file]) => [name, join(root, file)])), {
      dir: out, format: 'esm', entryFileNames: '[name].mjs', chunkFileNames: 'chunks/[name]-[hash].mjs', sourcemap: true, comments: false,
      banner: `globalThis.__berthRoot ??= ${findRoot};`,
    }));
    const chunks = join(out, 'chunks');
    for (const file of existsSync(chunks) ? readdirSync(chunks) : []) {
      if (!written.has(`chunks/${file}`)) rmSync(join(chunks, file)); // of an earlier build
    }
  }
}
console.log(`-----> Built ${[...Object.keys(PROGRAMS), ...Object.keys(processes)].join(', ')} in ${((performance.now() - started) / 1000).toFixed(1)} s`);
