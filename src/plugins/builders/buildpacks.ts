import type { Builder } from './builder.port.js';
import { dotnetBuildpack } from './dotnet/dotnet.buildpack.js';
import { elixirBuildpack } from './elixir/elixir.buildpack.js';
import { goBuildpack } from './go/go.buildpack.js';
import { javaBuildpack } from './java/java.buildpack.js';
import { nodeBuildpack } from './node/node.buildpack.js';
import { phpBuildpack } from './php/php.buildpack.js';
import { procfileBuildpack } from './plain/procfile.buildpack.js';
import { pythonBuildpack } from './python/python.buildpack.js';
import { rubyBuildpack } from './ruby/ruby.buildpack.js';
import { rustBuildpack } from './rust/rust.buildpack.js';
import { staticBuildpack } from './static/static.buildpack.js';

/**
 * Our own buildpacks in the order in which they are asked. Node.js and what has no language of its own come last: many apps of
 * other languages keep a package.json for their assets.
 */
export const BUILDPACKS: readonly Builder[] = [
  elixirBuildpack,
  rubyBuildpack,
  phpBuildpack,
  pythonBuildpack,
  javaBuildpack,
  goBuildpack,
  rustBuildpack,
  dotnetBuildpack,
  nodeBuildpack,
  staticBuildpack,
  procfileBuildpack,
];
