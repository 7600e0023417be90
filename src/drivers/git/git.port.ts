/** Where a commit is to be looked for. */
export interface CommitRef {
  /** absolute path of a bare repository */
  readonly repo: string;
  /** full commit id */
  readonly sha: string;
  /** folder of pushed objects that are not in the repository yet, or null */
  readonly quarantine: string | null;
}

export interface CommitInfo {
  readonly sha: string;
  /** first line of the message, control characters taken out */
  readonly subject: string;
  /** `Name <address>` */
  readonly author: string;
}

/** A commit of another repository that stands in a tree in place of a folder. */
export interface Submodule {
  readonly path: string;
  readonly sha: string;
  /** as `.gitmodules` has it; null when it says nothing about this path */
  readonly url: string | null;
}

/** Another commit's files to be put into the same archive. */
export interface ArchivePart extends CommitRef {
  /** folder in the archive, without a slash at its end */
  readonly path: string;
}

export interface Archive {
  readonly bytes: number;
  /** everything but folders */
  readonly files: number;
  readonly sha256: string;
  /** files that are pointers into Git LFS: their content is elsewhere */
  readonly lfs: number;
}

export type GitProblem =
  /** the commit or its objects are not there */
  | 'gone'
  /** larger than what is taken */
  | 'limit'
  /** a path that would leave the folder it is unpacked in */
  | 'path'
  /** a submodule that is not fetched, whatever the network does */
  | 'submodule'
  /** a server that refuses us, or has not got what was asked for */
  | 'remote'
  /** files that only git-lfs could bring */
  | 'lfs'
  /** a folder that the commit has not got */
  | 'folder'
  /** a submodule that could not be fetched this time */
  | 'network';

export interface RemoteRef { readonly ref: string; /** full commit id */ readonly sha: string }

/** git's answer was no, for a reason that a person can do something about. */
export class GitRefusal extends Error {
  constructor(readonly problem: GitProblem, message: string, readonly hint: string | null = null) {
    super(message);
    this.name = 'GitRefusal';
  }
}

/** What is asked of git. Nothing in a repository or in its configuration may run a program, whatever was pushed. */
export interface Git {
  /** Makes a bare repository, or leaves the one that is there as it is. */
  initBare(path: string): Promise<void>;
  exists(commit: CommitRef): Promise<boolean>;
  /** Full id of the one commit whose id begins so, or null. */
  resolve(repo: string, prefix: string): Promise<string | null>;
  /** @throws GitRefusal `gone` */
  commitInfo(commit: CommitRef): Promise<CommitInfo>;
  /** @throws GitRefusal `gone` */
  submodules(commit: CommitRef): Promise<Submodule[]>;
  /**
   * Fetches a submodule's commit into the cache and answers where it is. `base`: the address that `../other.git` is relative to.
   * @throws GitRefusal `submodule` for an address that is not allowed or refuses us, `network` when the other side is not reached
   */
  fetchSubmodule(submodule: Submodule, signal: AbortSignal, base?: string | null): Promise<CommitRef>;
  /**
   * What a branch, a tag or (null) HEAD of another server is now; a full id is itself.
   * @throws GitRefusal `remote`, `network`
   */
  remoteRef(url: string, ref: string | null, signal: AbortSignal): Promise<RemoteRef>;
  /** Brings another server's commit and its history into the repository. @throws GitRefusal `remote`, `network` */
  fetchCommit(repo: string, url: string, sha: string, signal: AbortSignal): Promise<void>;
  /** Brings the files that Git LFS keeps for a commit into the repository. @throws GitRefusal `lfs` where there is no git-lfs, `remote`, `network` */
  fetchLfs(repo: string, url: string, sha: string, signal: AbortSignal): Promise<void>;
  /** A folder of a commit as a commit of its own; the same for the same. @throws GitRefusal `folder` */
  folder(commit: CommitRef, path: string): Promise<CommitRef>;
  /**
   * Writes a tar archive of a commit's tree, and of others below folders of it, to a file. `lfs`: with the files that Git LFS keeps for the first, fetched before.
   * @throws GitRefusal `gone`, `limit`, `path`; an error with `code: 'ENOSPC'` when the disk is full
   */
  archive(commit: CommitRef, parts: readonly ArchivePart[], destination: string, signal: AbortSignal, lfs?: boolean): Promise<Archive>;
}

/** The names of a repository, beside the objects they lead to. */
export interface RepositoryRefs {
  /** `refs/heads/main` → full id */
  readonly refs: Readonly<Record<string, string>>;
  /** what HEAD names: `refs/heads/main` */
  readonly head: string;
  /** commits whose parents were never pushed */
  readonly shallow: readonly string[];
}

/** Whole repositories, out of a server and into another. */
export interface GitTransfer {
  refs(repo: string): Promise<RepositoryRefs>;
  /** Of `commits`, those that the repository has. */
  present(repo: string, commits: readonly string[]): Promise<string[]>;
  /** One pack of everything that the refs and the other commits lead to, while pushes go on. Throws when git does. */
  pack(repo: string, commits: readonly string[], signal: AbortSignal): AsyncIterable<Buffer>;
  /** Makes a bare repository of a pack (or of nothing, when there are no commits); every object is checked against its name. The folder must not be there. */
  unpack(repo: string, refs: RepositoryRefs, pack: AsyncIterable<Buffer> | null, signal: AbortSignal): Promise<void>;
}

/** A file that becomes part of a commit. */
export interface ImportFile {
  /** bytes of the path, one character each (latin1) */
  readonly path: string;
  readonly mode: '100644' | '100755' | '120000';
  readonly bytes: number;
  readonly content: AsyncIterable<Buffer>;
}

export interface Commit {
  /** full id of the commit before, or null */
  readonly parent: string | null;
  /** `Name <address>` */
  readonly author: string;
  readonly committer: string;
  readonly message: string;
  /** ms since the epoch */
  readonly at: number;
}

/** Commits that nobody pushed. */
export interface GitImport {
  /** Full id of the branch's commit, or null. */
  branch(repo: string, branch: string): Promise<string | null>;
  moveBranch(repo: string, branch: string, sha: string): Promise<void>;
  /** Makes a commit of exactly these files; no branch is moved. The parent itself when nothing differs from it. */
  commit(repo: string, files: AsyncIterable<ImportFile>, commit: Commit, signal: AbortSignal): Promise<{ sha: string; changed: boolean }>;
}
