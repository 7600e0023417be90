import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';

/** A small ext4 of its own in a sparse file, mounted at `dir`: it fills without a byte being written, and nobody else's does. */
export class SmallDisk {
  private readonly image: string;
  private mounted = false;

  constructor(readonly dir: string, megabytes: number, image: string) {
    this.image = image;
    mkdirSync(dir, { recursive: true });
    execFileSync('truncate', ['-s', `${megabytes}M`, this.image]);
    // nothing kept back for root, which is who fills it here
    execFileSync('mkfs.ext4', ['-q', '-m', '0', '-E', 'lazy_itable_init=1,lazy_journal_init=1', this.image], { stdio: 'pipe' });
    execFileSync('mount', ['-o', 'loop', this.image, dir], { stdio: 'pipe' });
    this.mounted = true;
    process.on('exit', () => this.remove());
  }

  get free(): number {
    const { bavail, bsize } = statfsSync(this.dir);
    return bavail * bsize;
  }

  /** Takes all room but `left` bytes. Where others write at the same time, all of it until it stays so. */
  fill(left = 0): void {
    for (let piece = 0; this.free > left && piece < 1000; piece += 1) {
      const size = Math.min(this.free - left, 1 << 30);
      // the last blocks are the file's own index: less and less of what is said to be free
      for (let part = size; part >= 4096; part = Math.floor(part / 2)) if (spawnSync('fallocate', ['-l', String(part), join(this.dir, `.ballast-${piece}-${part}`)], { stdio: 'pipe' }).status === 0) break;
      if (size < 4096) return;
    }
  }

  empty(): void {
    execFileSync('find', [this.dir, '-maxdepth', '1', '-name', '.ballast-*', '-delete']);
  }

  remove(): void {
    if (!this.mounted) return;
    this.mounted = false;
    spawnSync('umount', ['-l', this.dir]);
    rmSync(this.image, { force: true });
  }
}
