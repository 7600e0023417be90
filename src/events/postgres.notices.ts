import pg from 'pg';

const POLL_MS = 1_000;
const RETRY_MS = 500;

/** LISTENs on a connection of its own while anyone listens; makes it anew when it breaks. `look` is the safety net. */
export class Notices {
  readonly #config: pg.ClientConfig;
  readonly #look: () => Promise<string>;
  readonly #listeners = new Set<() => void>();
  #client: pg.Client | null = null;
  #timer: NodeJS.Timeout | null = null;
  #retry: NodeJS.Timeout | null = null;
  #seen: string | null = null;
  #queued = false;

  /** @param look a text that differs after any change worth waking for */
  constructor(config: pg.ClientConfig, look: () => Promise<string>) {
    this.#config = config;
    this.#look = look;
  }

  listen(listener: () => void): () => void {
    const entry = () => listener();
    this.#listeners.add(entry);
    if (this.#listeners.size === 1) this.#start();
    return () => {
      this.#listeners.delete(entry);
      if (this.#listeners.size === 0) void this.#stop();
    };
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    await this.#stop();
  }

  #start(): void {
    void this.#connect();
    this.#timer = setInterval(() => void this.#poll(), POLL_MS);
    this.#timer.unref();
  }

  async #connect(): Promise<void> {
    this.#retry = null;
    const client = new pg.Client(this.#config);
    const lost = () => {
      if (this.#client !== client) return;
      this.#client = null;
      void client.end().catch(() => undefined);
      if (this.#listeners.size > 0) this.#retry ??= setTimeout(() => void this.#connect(), RETRY_MS).unref();
    };
    this.#client = client;
    client.on('error', lost);
    client.on('end', lost);
    client.on('notification', () => this.#wake());
    try {
      await client.connect();
      await client.query('LISTEN berth_changes');
      this.#wake(); // what was committed before we listened
    } catch {
      lost();
    }
  }

  async #poll(): Promise<void> {
    try {
      const now = await this.#look();
      if (now === this.#seen) return;
      this.#seen = now;
      this.#wake();
    } catch { /* away: the next poll */ }
  }

  #wake(): void {
    if (this.#queued) return;
    this.#queued = true;
    setImmediate(() => {
      this.#queued = false;
      for (const listener of this.#listeners) listener();
    });
  }

  async #stop(): Promise<void> {
    if (this.#timer) clearInterval(this.#timer);
    if (this.#retry) clearTimeout(this.#retry);
    this.#timer = this.#retry = null;
    const client = this.#client;
    this.#client = null;
    await client?.end().catch(() => undefined);
  }
}
