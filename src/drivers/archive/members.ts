import { Rejected } from '../../events/decider.js';

/** How much an archive may hold. */
export interface ArchiveLimits { /** of all files, unpacked */ readonly bytes: number; /** members of any kind */ readonly files: number; /** members below a folder `.git` are taken, too */ readonly git?: boolean }

export type MemberKind = 'file' | 'directory' | 'symlink';
/** One member as an archive has it. Names are bytes, one character each (latin1): a name need not be UTF-8. */
export interface MemberHead { readonly name: string; readonly kind: MemberKind | { readonly other: string }; readonly executable: boolean; readonly bytes: number; readonly link: string | null }

const NAME_MAX = 255;
const PATH_MAX = 4096;

/** For people, who read UTF-8. */
export const shownName = (name: string): string => {
  const text = JSON.stringify(Buffer.from(name, 'latin1').toString('utf8'));
  return text.length > 120 ? `${text.slice(0, 117)}…"` : text;
};

function refuse(what: string, hint = 'make the archive anew from a clean folder, for example: git archive HEAD, or tar -C folder -c .'): never {
  throw new Rejected('archive.member', `The archive ${what}`, hint);
}

/** How many folders up a link's target goes before it goes down; null: nobody can tell where it leads. */
export function stepsUp(target: string): number | null {
  const steps = target.split('/').filter((part) => part !== '' && part !== '.');
  const up = steps.findIndex((step) => step !== '..');
  const leading = up === -1 ? steps.length : up;
  // `..` behind a name may be behind another link
  return target === '' || target.startsWith('/') || steps.slice(leading).includes('..') ? null : leading;
}

/**
 * Judges the members of an archive one after the other, whatever wrote it. Pure; throws Rejected for the first one that is not harmless:
 * outside of the archive's own folder, a device, a hard link, there twice, behind a link, or too much.
 */
export class MemberLedger {
  bytes = 0;
  /** files and symbolic links that are taken */
  files = 0;
  /** members below a folder `.git`, which are left out */
  left = 0;
  private members = 0;
  private readonly known = new Map<string, MemberKind>();
  private readonly links: { readonly path: string; readonly depth: number; readonly up: number }[] = [];

  constructor(private readonly limits: ArchiveLimits) {}

  /** The member's path without `./` and doubled slashes, or null for one that is not taken. */
  add({ name, kind, bytes, link }: MemberHead): string | null {
    this.members += 1;
    if (this.members > this.limits.files) refuse(`has more than ${this.limits.files} members`, 'leave dependencies out (node_modules and the like), or raise it: berth git:set <app> archive-max-files <n>');
    if (typeof kind === 'object') refuse(`holds ${kind.other}, ${shownName(name)}`);
    if (name.startsWith('/')) refuse(`holds a file with an absolute path, ${shownName(name)}`);
    const parts = name.split('/').filter((part) => part !== '' && part !== '.');
    if (parts.includes('..')) refuse(`holds a path that leads out of it, ${shownName(name)}`);
    if (parts.length === 0) return kind === 'directory' ? null : refuse('holds a file without a name');
    const path = parts.join('/');
    const long = parts.find((part) => part.length > NAME_MAX);
    if (name.includes('\0') || long !== undefined || path.length > PATH_MAX) refuse(`holds a name that is too long or that no file can have, ${shownName(long ?? name)}`);
    this.weigh(kind === 'file' ? bytes : 0);
    this.place(parts, path, kind);
    if (!this.limits.git && parts.some((part) => part.toLowerCase() === '.git')) {
      this.left += 1;
      return null;
    }
    if (!this.limits.git && parts.some((part) => /^git~\d+$/i.test(part))) refuse(`holds a name that some systems read as .git, ${shownName(name)}`);
    if (kind === 'symlink') this.aim(path, parts.length - 1, link ?? '');
    if (kind !== 'directory') this.files += 1;
    return path;
  }

  /** More bytes of a file's content than its head said. */
  weigh(bytes: number): void {
    this.bytes += bytes;
    if (this.bytes > this.limits.bytes) refuse(`holds more than ${Math.floor(this.limits.bytes / 1024 / 1024)} MiB once it is unpacked`, 'leave large files out, or raise it: berth git:set <app> archive-max-size <size>');
  }

  private place(parts: readonly string[], path: string, kind: MemberKind): void {
    for (let depth = 1; depth < parts.length; depth += 1) {
      const above = parts.slice(0, depth).join('/');
      const is = this.known.get(above);
      if (is !== undefined && is !== 'directory') refuse(`holds ${shownName(path)} behind ${is === 'symlink' ? 'a symbolic link' : 'a file'} of that name`);
      this.known.set(above, 'directory');
    }
    const before = this.known.get(path);
    if (before !== undefined && (before !== 'directory' || kind !== 'directory')) refuse(`holds ${shownName(path)} twice`);
    this.known.set(path, kind);
  }

  private aim(path: string, depth: number, target: string): void {
    const up = stepsUp(target);
    if (up === null || target.includes('\0') || target.length > PATH_MAX) refuse(`holds a symbolic link that leads out of it, ${shownName(path)} → ${shownName(target)}`);
    this.links.push({ path, depth, up });
  }

  /**
   * Once all are known: the folder that all of it lies in (`shop-1.2/`, as servers of archives do it), or ''.
   * @throws Rejected for a link that leads out of that folder
   */
  root(): string {
    if (this.files === 0) refuse('holds no files');
    const tops = new Set([...this.known.keys()].map((path) => path.split('/', 1)[0]!).filter((top) => top.toLowerCase() !== '.git'));
    const [top] = tops;
    const below = tops.size === 1 && this.known.get(top!) === 'directory' ? 1 : 0;
    for (const { path, depth, up } of this.links) if (up > depth - below) refuse(`holds a symbolic link that leads out of it, ${shownName(path)}`);
    return below === 1 ? `${top!}/` : '';
  }
}
