import type { SourceTree } from '../source-tree.js';

/** Where the start script lies in a build's context, and in the image. */
export const START_FILE = '.berth/start';
export const START_TARGET = '/usr/local/bin/berth-start';

/** Entry point of the image: what buildpacks left in `.profile.d`, and the app's own `.profile`, is read before the process starts. */
export const START = `#!/bin/bash
# Made by Berth: runs a process of an app whose environment .profile.d and .profile set. One argument is a command line, more are a command.
cd /app || exit 1
shopt -s nullglob
for file in .profile.d/*.sh; do . "$file"; done
[ -f .profile ] && . ./.profile
shopt -u nullglob
hash -r
if [ $# -eq 1 ]; then exec /bin/bash -c "$1"; fi
exec "$@"
`;

/** Lines of a Dockerfile that make the script the image's entry point. @param file where it lies in the context */
export const startLines = (file = START_FILE): string[] => [`COPY ${file} ${START_TARGET}`, `ENTRYPOINT ["/bin/bash", "${START_TARGET}"]`];

/** A generated Dockerfile with the start script; one that has an entry point of its own stays as it is. */
export function withStart(dockerfile: string): string {
  const last = dockerfile.split('\n').slice(dockerfile.split('\n').findLastIndex((line) => /^FROM\s/i.test(line)));
  if (last.some((line) => /^ENTRYPOINT\s/i.test(line))) return dockerfile;
  return `${dockerfile.replace(/\n*$/, '\n')}${startLines().join('\n')}\n`;
}

/** Whether the repository has something that is to be read before a process starts. */
export const hasProfile = (tree: SourceTree): boolean => tree.paths.some((path) => path === '.profile' || /^\.profile\.d\/[^/]+\.sh$/.test(path));
