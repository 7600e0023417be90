import { intersects, validRange } from 'semver';
import type { ProcessTypes } from '../../../events/types/deploy.events.js';
import { StepFailure } from '../../../events/step.js';
import type { Builder, Project } from '../builder.port.js';
import { argLines, buildStage, cacheMount, chown, copySource, linesOf, orSay, planOf, processesOf, runStage, toolVersions, userLine, type Wanted } from '../generated.js';
import { nodeAssets } from '../node/node.buildpack.js';
import type { SourceTree } from '../source-tree.js';

const BUNDLE = '/opt/bundle';
/** gems that call Node.js when assets are made, and run the build script of a package.json themselves */
const BUNDLERS = ['jsbundling-rails', 'cssbundling-rails', 'webpacker', 'shakapacker', 'vite_ruby'];

const gemfile = (tree: SourceTree): string => (tree.text('Gemfile') ?? '').replace(/^\s*#.*$/gm, '');

/** Names of the gems of a Gemfile.lock. */
export const lockedGems = (text: string): Set<string> => new Set([...text.replaceAll('\r', '').matchAll(/^ {4}([A-Za-z0-9][\w.-]*) \(/gm)].map((match) => match[1]!));

/** What the repository says about its Ruby; `rewrite`: Bundler would insist on the patch level that stands there. */
export function wantedRuby(tree: SourceTree): (Wanted & { readonly rewrite: 'Gemfile' | '.ruby-version' | null }) | null {
  const text = gemfile(tree);
  const file = linesOf(tree, '.ruby-version')[0]?.replace(/^ruby-/, '');
  if (/^\s*ruby[\s(]+file:/m.test(text) && file !== undefined) return { text: file, from: '.ruby-version', rewrite: /^\d+\.\d+\.\d+/.test(file) ? '.ruby-version' : null };
  const said = /^\s*ruby[\s(]+((?:["'][^"'\n]*["'][,\s]*)+)/m.exec(text)?.[1];
  if (said !== undefined) {
    const words = [...said.matchAll(/["']([^"']*)["']/g)].map((match) => match[1]!);
    return { text: words.join(', '), from: 'Gemfile', rewrite: words.length === 1 && /^\d+\.\d+\.\d+/.test(words[0]!) ? 'Gemfile' : null };
  }
  if (file !== undefined) return { text: file, from: '.ruby-version', rewrite: null };
  const tool = toolVersions(tree, ['ruby']);
  if (tool !== null) return { ...tool, rewrite: null };
  const lock = /^RUBY VERSION\s+ruby (\d+\.\d+\.\d+)/m.exec((tree.text('Gemfile.lock') ?? '').replaceAll('\r', ''))?.[1];
  return lock === undefined ? null : { text: lock, from: 'Gemfile.lock', rewrite: null };
}

/** Whether a Ruby `major.minor` of any patch level can be what is asked for: `3.3.5`, `~> 3.2`, `>= 3.1, < 3.4`. */
export function rubyFits(wanted: string, have: string): boolean {
  const range = wanted.split(',').map((part) => part.trim().replace(/-?p\d+$/, '').replace(/^~>\s*(\d+\.\d+\.\d+.*)$/, '~$1').replace(/^~>\s*(\d+(?:\.\d+)?)$/, '^$1').replace(/^(?:=\s*)?(\d+\.\d+)\.\d+$/, '$1.x').replace(/^([<>=]=?)\s+/, '$1')).join(' ');
  return validRange(range) !== null && intersects(range, `${have}.x`);
}

function processes(project: Project, gems: ReadonlySet<string>): { readonly types: ProcessTypes; readonly why: string } | null {
  const { tree } = project;
  const web = gems.has('railties')
    ? gems.has('puma') && tree.has('config/puma.rb') ? 'bundle exec puma -C config/puma.rb' : 'bundle exec rails server -b 0.0.0.0 -p $PORT'
    : tree.has('config.ru')
      ? gems.has('puma') ? 'bundle exec puma -b tcp://0.0.0.0:$PORT config.ru' : gems.has('rackup') || gems.has('rack') && /^ {4}rack \([12]\./m.test(tree.text('Gemfile.lock') ?? '') ? 'bundle exec rackup config.ru -o 0.0.0.0 -p $PORT' : null
      : gems.has('sinatra') && tree.has('app.rb') ? 'bundle exec ruby app.rb -o 0.0.0.0 -p $PORT' : null;
  if (web === null) return null;
  const worker: ProcessTypes = gems.has('delayed_job') ? { worker: 'bundle exec rake jobs:work' } : {};
  return { types: { web, ...worker }, why: `web is ${web}` };
}

/** Our own Ruby buildpack: Bundler, Rails with its assets, Rack, Sinatra. */
export const rubyBuildpack: Builder = {
  name: 'ruby',
  title: 'Ruby app',
  looksFor: 'Gemfile',
  detect: ({ tree }) => (tree.has('Gemfile') ? { reason: 'Gemfile is there' } : null),
  plan(project) {
    const { stack, tree, app } = project;
    const { home } = stack.user;
    const have = stack.versions['ruby'] ?? '';
    if (!tree.has('Gemfile.lock')) throw new StepFailure('detect.no-lock', 'there is a Gemfile and no Gemfile.lock', 'bundle lock --add-platform x86_64-linux, and commit both');
    const gems = lockedGems(tree.text('Gemfile.lock') ?? '');
    const wanted = wantedRuby(tree);
    if (wanted !== null && !rubyFits(wanted.text, have)) throw new StepFailure('detect.version', `${wanted.from} asks for Ruby ${wanted.text.slice(0, 60)}; this server's stack has ${have}`, `allow ${have} there (ruby "~> ${have}.0"), or bring the Ruby of your choice with a Dockerfile`);
    const { types, detail } = processesOf(project, processes(project, gems), 'Ruby app');
    const rails = gems.has('railties');
    const compiled = tree.paths.some((path) => /^public\/assets\/(?:\.sprockets-manifest[^/]*|\.manifest|manifest[^/]*)\.json$/.test(path));
    const precompile = rails && tree.has('Rakefile') && !compiled && ['sprockets', 'propshaft', ...BUNDLERS].some((gem) => gems.has(gem));
    const calls = BUNDLERS.some((gem) => gems.has(gem));
    const assets = nodeAssets(project, !(precompile && calls));
    const text = gemfile(tree);
    const vendored = tree.paths.some((path) => /^vendor\/cache\/[^/]+\.gem$/.test(path));
    const apart = !/\bpath[:\s(]|:path\b|^\s*(?:gemspec|eval_gemfile|instance_eval)\b|require_relative|\bFile\.|__dir__/m.test(text) && !/^PATH$/m.test(tree.text('Gemfile.lock') ?? '');
    const install = vendored ? '{ bundle install --local || bundle install; }' : 'bundle install';
    const rewrite = wanted?.rewrite === 'Gemfile' ? [`RUN sed -i -E "s/^([[:space:]]*ruby[[:space:](]+)[\\"'][0-9][^\\"']*[\\"']/\\1\\"~> ${have}.0\\"/" Gemfile`] : wanted?.rewrite === '.ruby-version' ? ['RUN ruby -e "puts RUBY_VERSION" > .ruby-version'] : [];
    const bundle = [...rewrite, `RUN ${cacheMount(app, 'bundle', '/root/.bundle/cache')} ${install} && rm -rf ${BUNDLE}/ruby/*/cache${orSay('the gems could not be installed: Gemfile.lock must match Gemfile (bundle install, and commit both) and know this platform (bundle lock --add-platform x86_64-linux)')}`];
    const env = `BUNDLE_PATH=${BUNDLE} BUNDLE_DEPLOYMENT=true BUNDLE_WITHOUT=development:test BUNDLE_VERSION=system RAILS_ENV=production RACK_ENV=production`;
    const database = gems.has('pg') ? 'postgresql://u:p@127.0.0.1/none' : gems.has('mysql2') ? 'mysql2://u:p@127.0.0.1/none' : gems.has('trilogy') ? 'trilogy://u:p@127.0.0.1/none' : gems.has('sqlite3') ? 'sqlite3:/tmp/none.sqlite3' : null;
    const dockerfile = [
      '# Generated by Berth\'s Ruby buildpack: Gemfile.lock',
      ...(assets === null ? [] : [...assets.stage, '']),
      ...buildStage(project, stack.image('build', 'ruby')),
      `ENV ${env} BUNDLE_JOBS=4 BUNDLE_RETRY=3 BUNDLE_GLOBAL_GEM_CACHE=true`,
      `WORKDIR ${home}`, ...argLines(project),
      ...(apart ? [`COPY Gemfile Gemfile.lock${tree.has('.ruby-version') ? ' .ruby-version' : ''}${tree.has('.tool-versions') ? ' .tool-versions' : ''} ./`, ...(vendored ? ['COPY vendor/cache vendor/cache'] : []), ...bundle] : []),
      ...(assets?.early ?? []),
      ...copySource(project, '.'),
      ...(apart ? rewrite : bundle),
      ...(assets?.late ?? []),
      // the secrets are placeholders of this one command and stay nowhere
      ...(precompile ? [`RUN ${cacheMount(app, 'assets', `${home}/tmp/cache/assets`)} SECRET_KEY_BASE_DUMMY=1 SECRET_KEY_BASE=assets${database === null ? '' : ` DATABASE_URL=${database}`} bundle exec rake assets:precompile${orSay('assets:precompile failed: it must work without the configuration and the database of the app')}`, ...(assets?.gone ?? [])] : []),
      'RUN rm -rf .berth vendor/cache',
      '',
      ...runStage(project, stack.image('run', 'ruby'), Object.fromEntries([['PATH', `${home}/bin`], ...env.split(' ').map((pair) => pair.split('=') as [string, string]), ['RAILS_SERVE_STATIC_FILES', '1'], ['RAILS_LOG_TO_STDOUT', '1'], ['MALLOC_ARENA_MAX', '2'], ['WEB_CONCURRENCY', '2']])),
      `COPY --from=build ${BUNDLE} ${BUNDLE}`,
      `COPY --from=build ${chown(project)} ${home} ${home}`,
      userLine(project),
    ];
    return {
      plan: planOf(project, { buildpack: 'ruby', summary: `Ruby ${have}${wanted === null ? '' : ` (${wanted.from})`}, Gemfile.lock`, processTypes: types, dockerfile, ...(assets === null ? {} : { files: assets.files }) }),
      details: [
        wanted === null ? `Ruby ${have}: the stack's; nothing asks for another (.ruby-version)` : `Ruby ${have}: ${wanted.from} says ${wanted.text}${wanted.rewrite === null ? '' : "; the patch level is the stack's"}`,
        `packages: Gemfile.lock${vendored ? ', from vendor/cache' : ''}`,
        ...(precompile ? ['assets:precompile: Rails with assets'] : compiled ? ['assets:precompile: left out, public/assets is in the repository'] : []),
        ...(assets?.details ?? []), ...(rails ? ['Rails needs SECRET_KEY_BASE (config:set) or RAILS_MASTER_KEY'] : []), detail,
      ],
      warnings: assets?.warnings ?? [],
    };
  },
};
