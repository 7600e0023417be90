import type { Readable } from 'node:stream';
import type { BuildpackRef } from './reference.js';

export interface SandboxSpec {
  readonly name: string;
  readonly image: string;
  readonly cmd: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly labels: { readonly instance: string; readonly app: string; readonly deploy: number; readonly attempt: number; readonly job: string; readonly type: string };
  /** bytes; 0 = none */
  readonly memory: number;
  /** CPUs; 0 = none */
  readonly cpus: number;
  /** a volume that outlives the container, made when it is not there */
  readonly cache: { readonly volume: string; readonly path: string };
}

/** Containers with files put in and taken out; the rest of their life is the engine port's. */
export interface Sandbox {
  /** @returns the container's id; it does not run yet */
  create(spec: SandboxSpec): Promise<string>;
  /** Unpacks a tar stream below a folder that is there. */
  put(id: string, path: string, tar: Readable): Promise<void>;
  /** A folder or file as a tar stream whose names begin with its last part (`.` when the path ends so); null when it is not there. */
  get(id: string, path: string): Promise<Readable | null>;
}

/** Certificates for clients inside: environment that points to files, and the files (path without leading slash). */
export interface BuildCa { readonly env: Readonly<Record<string, string>>; readonly files: Readonly<Record<string, Buffer>> }

export interface FetchedBuildpack {
  /** the commit, or `sha256-…` of what is in it */
  readonly id: string;
  /** false when its origin could not be asked and an earlier answer is used */
  readonly fresh: boolean;
  /** whether nothing had to be fetched */
  readonly cached: boolean;
  /** path of a tar of its files, `bin/compile` at the top */
  readonly file: string;
}

export interface BuildpackFetcher {
  /**
   * @throws StepFailure `build.buildpack` when there is no such thing, it is no buildpack or too large; (machine) when it can't be reached
   */
  fetch(reference: Exclude<BuildpackRef, { kind: 'own' }>, signal: AbortSignal): Promise<FetchedBuildpack>;
}
