import { describe, expect, it } from 'vitest';
import { choose, failure, type Files } from '../../../../test/builders/kit.js';
import { treeOf } from '../source-tree.js';
import { lockedGems, rubyFits, wantedRuby } from './ruby.buildpack.js';

const lock = (...gems: string[]): string => `GEM\n  remote: https://rubygems.org/\n  specs:\n${gems.map((gem) => `    ${gem} (1.0.0)\n      other (>= 1)\n`).join('')}\nPLATFORMS\n  ruby\n`;
const app = (gems: readonly string[], files: Files = {}): Files => ({ Gemfile: 'gem "x"\n', 'Gemfile.lock': lock(...gems), ...files });
const dockerfile = (files: Files): string => choose(files).plan.dockerfile!;
const rails = app(['railties', 'propshaft', 'pg', 'puma'], { Rakefile: '', 'config/puma.rb': '', 'config.ru': '' });

describe('Ruby buildpack', () => {
  it('the generated Dockerfile for Rails with assets by Node.js', () => { expect(dockerfile({ ...rails, 'Gemfile.lock': lock('railties', 'jsbundling-rails', 'propshaft', 'pg', 'puma'), 'package.json': '{"scripts":{"build":"x"},"dependencies":{"esbuild":"1"}}', 'yarn.lock': '' })).toMatchSnapshot(); });
  it('the generated Dockerfile for Rack with vendored gems and gems of the repository', () => { expect(dockerfile(app(['puma'], { 'config.ru': '', Gemfile: "gem 'a', path: 'a'\nruby '3.3.1'", 'vendor/cache/a-1.gem': '' }))).toMatchSnapshot(); });
  it('versions', () => {
    const said = (files: Files) => wantedRuby(treeOf({ 'Gemfile.lock': '', ...files }));
    expect(said({ Gemfile: '# ruby "2.7.0"\nruby "3.3.5"\n', '.ruby-version': '3.1' })).toEqual({ text: '3.3.5', from: 'Gemfile', rewrite: 'Gemfile' });
    expect(said({ Gemfile: "ruby '>= 3.1', '< 3.4'\n" })).toEqual({ text: '>= 3.1, < 3.4', from: 'Gemfile', rewrite: null });
    expect(said({ Gemfile: 'ruby file: ".ruby-version"', '.ruby-version': 'ruby-3.3.5\n' })).toEqual({ text: '3.3.5', from: '.ruby-version', rewrite: '.ruby-version' });
    expect(said({ Gemfile: '', '.tool-versions': 'ruby 3.2.0' })?.from).toBe('.tool-versions');
    expect(said({ Gemfile: '', 'Gemfile.lock': 'RUBY VERSION\n   ruby 3.3.1p55\n' })).toMatchObject({ text: '3.3.1', from: 'Gemfile.lock' });
  });
  it.each([['3.3', true], ['3.3.14', true], ['3.3.1p55', true], ['~> 3.3', true], ['~> 3.0', true], ['~> 3.3.2', true], ['~> 3.2.1', false], ['>= 3.1, < 3.4', true], ['>= 3.4', false], ['2.7.8', false], ['jruby-9.4', false], ['= 3.3.0', true], ['< 3.3', false]])('%s fits 3.3: %s', (wanted, fits) => { expect(rubyFits(wanted, '3.3')).toBe(fits); });
  it('reads the gems of a lock file', () => { expect([...lockedGems(`${lock('rack', 'x_y-z')}BUNDLED WITH\n   2.5\n`)]).toEqual(['rack', 'x_y-z']); });
  it('what starts it', () => {
    expect(choose(rails).plan.processTypes).toEqual({ web: 'bundle exec puma -C config/puma.rb' });
    expect(choose(app(['railties', 'delayed_job'])).plan.processTypes).toEqual({ web: 'bundle exec rails server -b 0.0.0.0 -p $PORT', worker: 'bundle exec rake jobs:work' });
    expect(choose(app(['rack', 'puma'], { 'config.ru': '' })).plan.processTypes).toEqual({ web: 'bundle exec puma -b tcp://0.0.0.0:$PORT config.ru' });
    expect(choose(app(['rackup'], { 'config.ru': '' })).plan.processTypes).toEqual({ web: 'bundle exec rackup config.ru -o 0.0.0.0 -p $PORT' });
    expect(choose(app(['x'], { Procfile: 'web: y\nrelease: z' })).plan).toMatchObject({ processTypes: { web: 'y' }, releaseCommand: 'z' });
    expect(failure({ ...app([]), 'config.ru': '', 'Gemfile.lock': '    rack (3.1.0)\n' }).code).toBe('detect.no-process');
  });
  it('assets: where they are used, and not made already', () => {
    expect(dockerfile(rails)).toContain('assets:precompile');
    expect(dockerfile({ ...rails, 'public/assets/.manifest.json': '{}' })).not.toContain('assets:precompile');
    expect(dockerfile(app(['railties'], { Rakefile: '' }))).not.toContain('assets:precompile');
  });
  it('insists on a lock file and a Ruby that is there', () => {
    expect(failure({ Gemfile: '' })).toMatchObject({ code: 'detect.no-lock', fault: 'user' });
    expect(failure(app(['x'], { '.ruby-version': '2.7.8' })).message).toBe(".ruby-version asks for Ruby 2.7.8; this server's stack has 3.3");
  });
});
