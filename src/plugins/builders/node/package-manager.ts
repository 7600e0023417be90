import { intersects } from 'semver';
import { StepFailure } from '../../../events/step.js';
import type { SourceTree } from '../source-tree.js';
import type { Manifest } from './manifest.js';
import { toolVersions, versionFile } from '../generated.js';
import { comparators } from './node-version.js';

export interface PackageManager {
  readonly kind: 'npm' | 'pnpm' | 'yarn' | 'berry' | 'bun';
  /** the file that is obeyed; null: there is none, and nothing to install */
  readonly lock: string | null;
  /** comparators */
  readonly range: string;
  /** what of that is taken if it is there: comparators, or `own` for the npm that belongs to the Node in use */
  readonly prefer: string;
  /** for people: `pnpm 9.12.0 (packageManager)` */
  readonly title: string;
  /** what asks for a version, for messages: `9.12.0 (packageManager)` */
  readonly says: string | null;
  /** `sha512.<hex>` of packageManager */
  readonly hash: string | null;
  /** what `yarn install` makes: a node_modules folder, or Plug'n'Play's files */
  readonly linker: 'node_modules' | 'pnp';
  /** whether it can take development packages away */
  readonly prunes: boolean;
}

const LOCKS = { 'package-lock.json': 'npm', 'npm-shrinkwrap.json': 'npm', 'pnpm-lock.yaml': 'pnpm', 'yarn.lock': 'yarn', 'bun.lock': 'bun', 'bun.lockb': 'bun' } as const;
/** manager → the lock file that it writes today */
const WRITES = { npm: 'package-lock.json', pnpm: 'pnpm-lock.yaml', yarn: 'yarn.lock', berry: 'yarn.lock', bun: 'bun.lock' } as const;

const isBerry = (tree: SourceTree): boolean => /^__metadata:/m.test(tree.text('yarn.lock') ?? '') || tree.has('.yarnrc.yml');

/** version of Yarn's lock file → who writes it: an older one would be rewritten, which `--immutable` forbids */
const BERRY = [[10, '>=4.15 <5'], [9, '4.14.x'], [7, '>=4 <4.14'], [6, '>=3.2 <4'], [5, '3.1.x'], [0, '>=2 <3.1']] as const;

/** The line that wrote a lock file, as far as its own version tells. */
function lineOf(kind: PackageManager['kind'], tree: SourceTree): string {
  if (kind === 'pnpm') {
    const version = Number(/^lockfileVersion:\s*['"]?(\d+)/m.exec(tree.text('pnpm-lock.yaml') ?? '')?.[1] ?? 9);
    return version >= 9 ? '10.x' : version >= 6 ? '8.x' : '7.x';
  }
  if (kind === 'berry') {
    const version = Number(/^__metadata:\s*\n(?:\s+.*\n)*?\s+version:\s*(\d+)/m.exec((tree.text('yarn.lock') ?? '').replace(/\r/g, ''))?.[1] ?? 10);
    return BERRY.find(([from]) => version >= from)![1];
  }
  // a newer bun reads what an older one wrote and leaves it as it is
  return kind === 'yarn' || kind === 'bun' ? '1.x' : 'own';
}

/**
 * Which package manager a repository is written for: `packageManager`, else its lock file; in which version: `packageManager`, else
 * `engines`, else the line that writes such a lock file.
 * @throws StepFailure `detect.no-lock`, `detect.locks`, `detect.package-manager`
 */
export function packageManager(tree: SourceTree, manifest: Manifest): PackageManager {
  const found = (Object.keys(LOCKS) as (keyof typeof LOCKS)[]).filter((file) => tree.has(file));
  const field = manifest.packageManager === null ? null : /^(npm|pnpm|yarn|bun)@(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?)(?:\+(sha1|sha224|sha256|sha384|sha512)\.([0-9a-f]+))?$/.exec(manifest.packageManager.trim());
  if (manifest.packageManager !== null && field === null) throw new StepFailure('detect.package-manager', `package.json: packageManager is ${JSON.stringify(manifest.packageManager).slice(0, 100)}`, 'npm, pnpm, yarn or bun with an exact version: "pnpm@10.4.1"');
  if (field === null && new Set(found.map((file) => LOCKS[file])).size > 1) {
    throw new StepFailure('detect.locks', `there is more than one lock file: ${found.join(', ')}`, 'keep the one of the package manager that you use, or name it: "packageManager" in package.json');
  }
  const name = (field?.[1] ?? (found[0] === undefined ? 'npm' : LOCKS[found[0]])) as 'npm' | 'pnpm' | 'yarn' | 'bun';
  const lock = found.find((file) => LOCKS[file] === name) ?? null;
  const kind = name === 'yarn' && (field === null ? isBerry(tree) : !field[2]!.startsWith('1.') && !field[2]!.startsWith('0.')) ? 'berry' : name;
  if (lock === null) {
    const wants = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies, ...manifest.optionalDependencies }).length > 0 || manifest.workspaces;
    if (wants) {
      const other = found.length > 0 ? `; ${found.join(', ')} is not ${name}'s` : '';
      throw new StepFailure('detect.no-lock', `package.json names packages and there is no ${WRITES[kind]}${other}`, `${name} install, and commit the lock file (it must not be in .gitignore)`);
    }
  }
  const engines = manifest.engines[name];
  const file = name === 'bun' ? versionFile(tree, ['.bun-version']) ?? toolVersions(tree, ['bun']) : null;
  const asked = field?.[2] ?? file?.text ?? (engines !== undefined && engines.trim() !== '*' && engines.trim() !== '' ? engines : null);
  const line = lineOf(kind, tree);
  const prefer = comparators(field?.[2] ?? line) ?? 'own';
  const range = asked === null ? prefer === 'own' ? '*' : prefer : comparators(asked);
  if (range === null) throw new StepFailure('detect.package-manager', `${file?.from ?? `package.json: engines.${name}`} is ${JSON.stringify(asked).slice(0, 100)}, which is no version`, 'a version or a range: 10.x');
  if (kind === 'yarn' && !intersects(range, '<2')) throw new StepFailure('detect.package-manager', `package.json asks for yarn ${asked}, and yarn.lock is of Yarn 1`, 'yarn install with the version that you want, and commit yarn.lock and .yarnrc.yml');
  const says = asked === null ? null : `${asked} (${field !== null ? 'packageManager' : file?.from ?? 'engines'})`;
  const where = says !== null ? ` ${says}` : line === 'own' ? '' : ` ${line}`;
  const linker = kind === 'berry' && !/^nodeLinker:\s*["']?(?:node-modules|pnpm)/m.test(tree.text('.yarnrc.yml') ?? '') ? 'pnp' : 'node_modules';
  const prunes = kind === 'bun' ? !manifest.workspaces : kind !== 'berry' || !intersects(range, '<4') || !intersects(prefer, '<4') || /plugin-workspace-tools/.test(tree.text('.yarnrc.yml') ?? '');
  return { kind, lock, range, prefer, prunes, says, title: `${name}${where}`, hash: field?.[3] === undefined ? null : `${field[3]}.${field[4]}`, linker };
}
