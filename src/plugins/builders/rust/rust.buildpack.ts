import { StepFailure } from '../../../events/step.js';
import type { Builder, Project } from '../builder.port.js';
import { argLines, buildStage, cacheMount, chown, copySource, orSay, planOf, processesOf, runStage, toolVersions, userLine, versionFile, type Wanted } from '../generated.js';
import type { SourceTree } from '../source-tree.js';
import { readToml } from '../toml.js';

/** Programs of the packages in the tree, from Cargo.toml and the places that cargo looks at by itself. */
function programs(tree: SourceTree): { readonly names: string[]; readonly preferred: string | null } {
  const names = new Set<string>();
  let preferred: string | null = null;
  for (const path of tree.paths.filter((file) => /(^|\/)Cargo\.toml$/.test(file) && !/(^|\/)(?:vendor|target)\//.test(file))) {
    const toml = readToml(tree, path);
    const name = toml.string('package', 'name');
    if (name === null) continue;
    const folder = path.slice(0, -'Cargo.toml'.length);
    const declared = toml.tables('bin').flatMap((bin) => bin.string('name') ?? []);
    for (const bin of declared) names.add(bin);
    if (!toml.is(false, 'package', 'autobins')) {
      if (tree.has(`${folder}src/main.rs`) && !toml.tables('bin').some((bin) => bin.string('path') === 'src/main.rs')) names.add(name);
      for (const file of tree.paths) {
        const own = file.startsWith(`${folder}src/bin/`) ? /^([^/]+?)(?:\.rs|\/main\.rs)$/.exec(file.slice(`${folder}src/bin/`.length)) : null;
        if (own && !toml.tables('bin').some((bin) => bin.string('path') === file.slice(folder.length))) names.add(own[1]!);
      }
    }
    if (folder === '') preferred = toml.string('package', 'default-run') ?? (names.has(name) ? name : null);
  }
  return { names: [...names], preferred };
}

/** rust-toolchain.toml, its older form, or `.tool-versions`. */
function wanted(tree: SourceTree): Wanted | null {
  const channel = readToml(tree, 'rust-toolchain.toml').string('toolchain', 'channel');
  if (channel !== null) return { text: channel, from: 'rust-toolchain.toml' };
  const old = tree.text('rust-toolchain');
  if (old !== null) {
    const text = /channel\s*=\s*"([^"]+)"/.exec(old)?.[1] ?? versionFile(tree, ['rust-toolchain'])?.text;
    if (text) return { text, from: 'rust-toolchain' };
  }
  return toolVersions(tree, ['rust']);
}

function version(project: Project): { readonly rustup: string | null; readonly summary: string; readonly detail: string } {
  const have = project.stack.versions['rust'] ?? '';
  const want = wanted(project.tree);
  if (want === null || want.text === 'stable') return { rustup: null, summary: `Rust ${have}`, detail: `Rust ${have}: the stack's${want === null ? '; nothing asks for another (rust-toolchain.toml)' : `; ${want.from} says stable`}` };
  if (!/^(?:\d+\.\d+(?:\.\d+)?|beta|nightly(?:-\d{4}-\d\d-\d\d)?)$/.test(want.text)) throw new StepFailure('detect.version', `${want.from} asks for Rust ${want.text}, which is not a toolchain that rustup has`, `write "${have}" or "stable" into ${want.from}`);
  if (want.text === have || want.text.startsWith(`${have}.`)) return { rustup: null, summary: `Rust ${have} (${want.from})`, detail: `Rust ${have}: ${want.from} says ${want.text}${want.text === have ? '' : "; the patch level is the stack's"}` };
  return { rustup: want.text, summary: `Rust ${want.text} (${want.from})`, detail: `Rust ${want.text}: ${want.from} asks for it, rustup fetches it` };
}

/** Our own Rust buildpack: cargo with the lock file, programs in `bin/`, compiler left behind. */
export const rustBuildpack: Builder = {
  name: 'rust',
  title: 'Rust app',
  looksFor: 'Cargo.toml',
  detect: ({ tree }) => (tree.has('Cargo.toml') ? { reason: 'Cargo.toml is there' } : null),
  plan(project) {
    const { stack, tree, app } = project;
    if (!tree.has('Cargo.lock')) throw new StepFailure('detect.no-lock', 'there is a Cargo.toml and no Cargo.lock', 'cargo generate-lockfile, and commit Cargo.lock');
    const { rustup, summary, detail } = version(project);
    const { names, preferred } = programs(tree);
    const odd = names.find((name) => !/^[A-Za-z0-9_-]+$/.test(name));
    if (odd !== undefined) throw new StepFailure('detect.cargo', `Cargo.toml: ${JSON.stringify(odd)} is not the name of a program`, 'letters, digits, dashes and underscores');
    if (names.length === 0) throw new StepFailure('detect.no-process', 'the Cargo package has no program: no src/main.rs, no src/bin, no [[bin]]', 'a library cannot be run: add src/main.rs');
    const web = preferred ?? (names.length === 1 ? names[0]! : names.find((name) => ['web', 'server'].includes(name)) ?? null);
    if (project.procfile === null && web === null) throw new StepFailure('detect.no-process', `there is no Procfile, and there are several programs: ${names.slice(0, 8).join(', ')}`, `add a file Procfile with a line like "web: ${names[0]}", or default-run to Cargo.toml`);
    const { types, detail: processes } = processesOf(project, { types: { web }, why: `web is ${web}` }, 'Rust app');
    const mounts = `${cacheMount(app, 'cargo', '/root/.cargo/registry')} ${cacheMount(app, 'cargo-git', '/root/.cargo/git')} ${cacheMount(app, 'target', '/src/target')}`;
    const vendored = tree.paths.some((path) => path.startsWith('vendor/')) && tree.has('.cargo/config.toml');
    const dockerfile = [
      "# Generated by Berth's Rust buildpack: Cargo.lock",
      ...buildStage(project, stack.image('build', rustup === null ? 'rust' : 'rustup')),
      ...(rustup === null ? [] : [
        'ENV RUSTUP_HOME=/opt/rustup RUSTUP_TOOLCHAIN=' + rustup,
        `RUN rustup toolchain install ${rustup} --profile minimal${orSay(`Rust ${rustup} could not be fetched by rustup: there is Rust ${stack.versions['rust'] ?? ''} in the stack, for which no rust-toolchain.toml is needed`)}`,
      ]),
      'WORKDIR /src',
      ...argLines(project),
      ...copySource(project, '.'),
      // commits carry the time of their making, which may lie before the last build: cargo would take a changed file for an old one
      `RUN ${mounts} find . -path ./target -prune -o -type f -exec touch {} + && { cargo fetch --locked --target "$(rustc -vV | sed -n "s/^host: //p")"${orSay('the crates could not be had: Cargo.lock must match every Cargo.toml (cargo update --workspace, and commit both), and every crate must be in reach')}; } && cargo build --release --locked && install -D -t /out ${names.map((name) => `target/release/${name}`).join(' ')}`,
      '',
      ...runStage(project, stack.run, { PATH: '/app/bin' }),
      ...copySource(project, stack.user.home, true),
      `COPY ${chown(project)} --from=build /out ${stack.user.home}/bin`,
      userLine(project),
    ];
    return {
      plan: planOf(project, { buildpack: 'rust', summary: `${summary}, Cargo.lock`, processTypes: types, dockerfile }),
      details: [detail, `packages: Cargo.lock${vendored ? ', vendored' : ''}`, `programs: ${names.slice(0, 12).join(', ')}`, processes],
      warnings: [],
    };
  },
};
