import { StepFailure } from '../../../events/step.js';
import type { Builder, Project } from '../builder.port.js';
import { argLines, buildStage, cacheMount, chown, copySource, orSay, planOf, processesOf, runStage, toolVersions, userLine, versionFile } from '../generated.js';
import type { SourceTree } from '../source-tree.js';

/** the first release whose toolchain the module proxy serves */
const OLDEST = [1, 21] as const;

interface GoMod {
  /** `github.com/me/shop/v2` */
  readonly module: string;
  /** `go 1.24` and `toolchain go1.25.1` */
  readonly go: string | null;
  readonly toolchain: string | null;
  /** Heroku's comments: `// +heroku goVersion go1.22`, `// +heroku install ./cmd/...` */
  readonly herokuVersion: string | null;
  readonly install: readonly string[];
  /** modules from elsewhere */
  readonly requires: readonly string[];
}

/** @throws StepFailure `detect.go-mod` */
export function readGoMod(text: string): GoMod {
  const one = (pattern: RegExp): string | null => pattern.exec(text)?.[1] ?? null;
  const local = new Set([...text.matchAll(/^\s*(?:replace\s+)?(\S+)(?:\s+v\S+)?\s+=>\s+[./]/gm)].map((match) => match[1]!));
  const module = one(/^module\s+"?([^\s"]+)"?/m);
  if (module === null) throw new StepFailure('detect.go-mod', 'go.mod has no line "module <path>"', 'go mod init <path>, and commit go.mod');
  return {
    module, go: one(/^go\s+(\d\S*)/m), toolchain: one(/^toolchain\s+go(\S+)/m),
    herokuVersion: one(/^\/\/\s*\+heroku\s+goVersion\s+(?:go)?(\S+)/m),
    install: one(/^\/\/\s*\+heroku\s+install\s+(.+)$/m)?.trim().split(/\s+/) ?? [],
    requires: [...text.matchAll(/^\s*(?:require\s+)?([\w.-]+\.[\w./~-]+)\s+v\d\S*\s*(?:\/\/.*)?$/gm)].map((match) => match[1]!).filter((name) => !local.has(name)),
  };
}

/** `github.com/me/shop/v2` → `shop`: what `go build` calls the program at the root. */
export const programOf = (module: string): string => module.replace(/\/v\d+$/, '').split('/').at(-1)!.replace(/\.v\d+$/, '');

/** Folders that hold a program, as far as names and the texts that were kept tell: `.` and those with a main.go. */
function programs(tree: SourceTree): string[] {
  const isMain = (path: string): boolean => /^\s*package\s+main\b/m.test(tree.text(path) ?? '') && !path.endsWith('_test.go');
  const root = tree.paths.some((path) => /^[^/]+\.go$/.test(path) && isMain(path));
  const below = tree.paths.filter((path) => path.endsWith('/main.go') && !/(^|\/)(?:vendor|testdata|examples?|_[^/]*)\//.test(path) && isMain(path)).map((path) => path.slice(0, -'/main.go'.length));
  return [...(root ? ['.'] : []), ...below];
}

interface Toolchain { readonly env: string | null; readonly summary: string; readonly detail: string }

/** Which Go: the stack's switches by itself to what go.mod asks for; other files name one outright. */
function toolchain(project: Project, mod: GoMod): Toolchain {
  const have = project.stack.versions['go'] ?? '';
  const setting = project.settings['GOVERSION']?.replace(/^go/, '');
  const named = setting ? { text: setting, from: 'GOVERSION' } : mod.herokuVersion !== null ? { text: mod.herokuVersion, from: 'go.mod (+heroku goVersion)' } : versionFile(project.tree, ['.go-version']) ?? toolVersions(project.tree, ['golang', 'go']);
  if (named === null) {
    const wants = mod.toolchain ?? mod.go;
    const newer = wants !== null && compare(wants, have) > 0;
    return { env: null, summary: `Go ${newer ? wants : have}${newer ? ' (go.mod)' : ''}`, detail: newer ? `Go ${wants}: go.mod asks for it, it comes from the Go module proxy` : `Go ${have}: the stack's${mod.go === null ? '' : `, go.mod says ${mod.go}`}` };
  }
  const match = /^(\d+)\.(\d+)(?:\.(\d+))?$/.exec(named.text);
  if (match === null) throw new StepFailure('detect.version', `${named.from} asks for Go ${named.text}, which is not a version`, `write ${have} into ${named.from}`);
  if (named.text === have) return { env: null, summary: `Go ${have} (${named.from})`, detail: `Go ${have}: ${named.from}; the patch level is the stack's` };
  if (Number(match[1]) !== OLDEST[0] || Number(match[2]) < OLDEST[1]) throw new StepFailure('detect.version', `${named.from} asks for Go ${named.text}; this server's stack has ${have}, and the Go module proxy serves ${OLDEST.join('.')} and later`, `write ${have} into ${named.from}, or bring the Go of your choice with a Dockerfile`);
  const full = match[3] === undefined ? `${named.text}.0` : named.text;
  return { env: `go${full}`, summary: `Go ${full} (${named.from})`, detail: `Go ${full}: ${named.from} says ${named.text}; it comes from the Go module proxy` };
}

function compare(a: string, b: string): number {
  const [x, y] = [a, b].map((text) => text.split(/\D+/).map(Number));
  for (let i = 0; i < 3; i++) { const order = (x![i] ?? 0) - (y![i] ?? 0); if (order !== 0) return order; }
  return 0;
}

/** Our own Go buildpack: modules, every program of the module in `bin/`, compiler left behind. */
export const goBuildpack: Builder = {
  name: 'go',
  title: 'Go app',
  looksFor: 'go.mod',
  detect: ({ tree }) => (tree.has('go.mod') ? { reason: 'go.mod is there' } : null),
  plan(project) {
    const { stack, tree, app } = project;
    const mod = readGoMod(tree.text('go.mod') ?? '');
    const version = toolchain(project, mod);
    const vendored = tree.has('vendor/modules.txt');
    const workspace = tree.has('go.work');
    if (!vendored && !workspace && !tree.has('go.sum') && mod.requires.length > 0) throw new StepFailure('detect.no-lock', `go.mod requires ${mod.requires[0]!}${mod.requires.length > 1 ? ` and ${mod.requires.length - 1} more` : ''}, and there is no go.sum`, 'go mod tidy, and commit go.mod and go.sum');
    const found = programs(tree);
    const bins = found.map((folder) => (folder === '.' ? programOf(mod.module) : folder.split('/').at(-1)!));
    const odd = mod.install.find((spec) => !/^\.?[A-Za-z0-9._/-]*$/.test(spec));
    if (odd !== undefined) throw new StepFailure('detect.go-mod', `go.mod: +heroku install: ${JSON.stringify(odd)} is not a package of this module`, 'packages like ./cmd/...');
    const web = found[0] === '.' ? bins[0]! : bins.length === 1 ? bins[0]! : bins.find((bin) => ['web', 'server'].includes(bin)) ?? null;
    if (project.procfile === null && web === null && bins.length > 1) throw new StepFailure('detect.no-process', `there is no Procfile, and the module has several programs: ${bins.slice(0, 8).join(', ')}`, `add a file Procfile with a line like "web: ${bins[0]}"`);
    const { types, detail } = processesOf(project, web === null ? null : { types: { web }, why: `web is ${web}` }, 'Go app');
    const mounts = `${cacheMount(app, 'gomod', '/root/go/pkg/mod')} ${cacheMount(app, 'gobuild', '/root/.cache/go-build')}`;
    const packages = mod.install.length > 0 ? mod.install.join(' ') : './...';
    const dockerfile = [
      "# Generated by Berth's Go buildpack: go.mod",
      ...buildStage(project, stack.image('build', 'go')),
      `ENV GOFLAGS=-trimpath${version.env === null ? '' : ` GOTOOLCHAIN=${version.env}`}`,
      'WORKDIR /src',
      ...argLines(project),
      ...(vendored || workspace ? [] : [`COPY go.mod${tree.has('go.sum') ? ' go.sum' : ''} ./`, `RUN ${mounts} go mod download${orSay('go mod download failed: the Go that go.mod asks for must exist, go.sum must match (go mod tidy, and commit both), and every module must be in reach')}`]),
      ...copySource(project, '.'),
      // names of folders are not always names of programs: only what the compiler made counts
      `RUN ${mounts} mkdir -p /out && go build -buildvcs=false -o /out/ ${packages} && ls /out/* > /dev/null${orSay('go build failed: the lines above say why (a missing go.sum entry: go mod tidy, and commit go.mod and go.sum)')}`,
      '',
      ...runStage(project, stack.run, { PATH: '/app/bin', GOTRACEBACK: 'single' }),
      ...copySource(project, stack.user.home, true),
      `COPY ${chown(project)} --from=build /out ${stack.user.home}/bin`,
      userLine(project),
    ];
    return {
      plan: planOf(project, { buildpack: 'go', summary: `${version.summary}, go.mod`, processTypes: types, dockerfile }),
      details: [version.detail, `modules: ${vendored ? 'vendor/' : tree.has('go.sum') ? 'go.sum' : 'none from elsewhere (no go.sum)'}`, ...(mod.install.length > 0 ? [`packages: ${packages} (+heroku install)`] : bins.length > 0 ? [`programs: ${bins.slice(0, 12).join(', ')}`] : []), detail],
      warnings: [],
    };
  },
};
