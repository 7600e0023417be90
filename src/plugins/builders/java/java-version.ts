import { StepFailure } from '../../../events/step.js';
import type { Project } from '../builder.port.js';
import { linesOf, toolVersions, versionFile, type Wanted } from '../generated.js';
import type { SourceTree } from '../source-tree.js';

/** JDKs of the stack: major version → part. The first one is what an app gets that asks for none. */
const JDKS: ReadonlyMap<number, string> = new Map([[21, 'java'], [25, 'java25']]);

function wanted(tree: SourceTree): Wanted | null {
  for (const line of linesOf(tree, 'system.properties')) {
    const text = /^java\.runtime\.version\s*[=:]\s*(\S+)$/.exec(line)?.[1];
    if (text !== undefined) return { text, from: 'system.properties' };
  }
  const sdkman = linesOf(tree, '.sdkmanrc').flatMap((line) => /^java\s*=\s*(\S+)$/.exec(line)?.[1] ?? [])[0];
  return versionFile(tree, ['.java-version']) ?? (sdkman === undefined ? toolVersions(tree, ['java']) : { text: sdkman, from: '.sdkmanrc' });
}

/** @throws StepFailure `detect.version` that names what can be had */
export function jdkOf({ tree }: Project): { readonly part: string; readonly summary: string; readonly detail: string } {
  const have = [...JDKS.keys()];
  const want = wanted(tree);
  if (want === null) return { part: JDKS.get(have[0]!)!, summary: `Java ${have[0]}`, detail: `Java ${have[0]}: the stack's; nothing asks for another (system.properties)` };
  // `21`, `21.0.4`, `1.8`, `openjdk-21`, `temurin-21.0.2+13`, `21.0.2-tem`
  const major = /^(?:[a-z][a-z-]*-)?(?:1\.(?=[5-9]\b))?(\d+)/i.exec(want.text)?.[1];
  const part = JDKS.get(Number(major));
  if (part === undefined) throw new StepFailure('detect.version', `${want.from} asks for Java ${want.text}; this server's stack has ${have.join(' and ')}`, `write ${have[0]} into ${want.from} (a newer JDK builds for older ones: maven.compiler.release), or bring the JDK of your choice with a Dockerfile`);
  return { part, summary: `Java ${major} (${want.from})`, detail: `Java ${major}: ${want.from} says ${want.text}` };
}
