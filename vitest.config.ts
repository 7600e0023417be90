import { defineConfig } from 'vitest/config';

/** Three layers: pure (no I/O), contract (real Redis, SQLite, PostgreSQL, git), e2e (real engine, SSH, HTTP). */
export default defineConfig({
  test: {
    projects: [
      { test: { name: 'pure', include: ['src/**/*.spec.ts', 'test/pure/**/*.test.ts', 'test/simulation/**/*.test.ts'], setupFiles: ['reflect-metadata'], testTimeout: 60_000 } },
      { test: { name: 'contract', include: ['test/contract/**/*.test.ts'], setupFiles: ['reflect-metadata'], testTimeout: 60_000, hookTimeout: 60_000 } },
      { test: { name: 'e2e', include: ['test/e2e/**/*.test.ts'], setupFiles: ['reflect-metadata'], testTimeout: 300_000, hookTimeout: 600_000, fileParallelism: false, maxWorkers: 1 } },
    ],
  },
});
