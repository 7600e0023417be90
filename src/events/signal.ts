import { closeSync, fstatSync, openSync, watch, writeSync, type FSWatcher } from 'node:fs';

const POLL_MS = 500;

/**
 * Tells every process that has the same file open that something was committed: one byte is written to `<file>-signal` after
 * the commit, inotify wakes the others. (Watching the WAL itself loses wake-ups: it is written before the commit is visible.)
 */
export class Signal {
  readonly #path: string;
  readonly #dataVersion: () => number;
  readonly #listeners = new Set<() => void>();
  #fd: number | null = null;
  #watcher: FSWatcher | null = null;
  #timer: NodeJS.Timeout | null = null;
  #queued = false;
  /** commits of this process: SQLite's data_version only counts those of others */
  #own = 0;
  #seen = '';

  /** @param dataVersion a number that changes with every commit of another connection */
  constructor(file: string, dataVersion: () => number) {
    this.#path = `${file}-signal`;
    this.#dataVersion = dataVersion;
    this.#open();
  }

  /** After a commit. Never fails: who misses it sees the change at the next poll. */
  touch(): void {
    this.#own += 1;
    try {
      if (this.#fd === null) this.#open();
      if (this.#fd !== null) writeSync(this.#fd, '!', 0);
    } catch { /* a full disk, a removed file: the poll remains */ }
    this.#soon();
  }

  listen(listener: () => void): () => void {
    const entry = () => listener();
    if (this.#listeners.size === 0) this.#start();
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
      if (this.#listeners.size === 0) this.#stop();
    };
  }

  close(): void {
    this.#listeners.clear();
    this.#stop();
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }

  #open(): void {
    try {
      closeSync(openSync(this.#path, 'a', 0o600));
      this.#fd = openSync(this.#path, 'r+');
      if (fstatSync(this.#fd).size === 0) writeSync(this.#fd, '!', 0); // has its block before the disk is full
    } catch {
      this.#fd = null;
    }
  }

  #start(): void {
    this.#seen = this.#state();
    this.#timer = setInterval(() => {
      if (!this.#watcher) this.#watch();
      this.#check();
    }, POLL_MS);
    this.#timer.unref();
    this.#watch();
  }

  #watch(): void {
    try {
      const watcher = watch(this.#path, { persistent: false }, (event) => {
        if (event === 'rename') this.#unwatch();
        this.#soon();
      });
      watcher.on('error', () => this.#unwatch());
      this.#watcher = watcher;
    } catch {
      this.#watcher = null;
    }
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = null;
  }

  #stop(): void {
    this.#unwatch();
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
  }

  #soon(): void {
    if (this.#queued || this.#listeners.size === 0) return;
    this.#queued = true;
    setImmediate(() => {
      this.#queued = false;
      this.#check();
    });
  }

  #state(): string {
    try {
      return `${this.#dataVersion()}/${this.#own}`;
    } catch {
      return '';
    }
  }

  /** Calls the listeners unless nothing was committed since the last call (our own byte comes back through inotify). */
  #check(): void {
    const now = this.#state();
    if (now !== '' && now === this.#seen) return;
    this.#seen = now;
    for (const listener of this.#listeners) listener();
  }
}
