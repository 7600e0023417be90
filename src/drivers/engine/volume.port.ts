import type { LabelValues } from './labels.js';

export interface Volume {
  readonly name: string;
  readonly driver: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A container that mounts a volume, running or not. */
export interface VolumeUser {
  readonly id: string;
  readonly name: string;
  /** `running`, `paused`, `exited`, … */
  readonly state: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** How long-lived data of apps and services lies in the engine, goes out of it and comes in again. Not found is null or no error; the rest throws as EnginePort does. */
export abstract class VolumePort {
  abstract list(labels: LabelValues): Promise<readonly Volume[]>;
  abstract inspect(name: string): Promise<Volume | null>;
  /** Finds it by name or makes it; answers whether it was made. */
  abstract ensure(name: string, labels: Readonly<Record<string, string>>): Promise<boolean>;
  /** @throws Error with `statusCode` 409 while a container, running or not, mounts it */
  abstract remove(name: string): Promise<void>;
  abstract users(name: string): Promise<readonly VolumeUser[]>;
  /** Names of the volumes (not the anonymous ones) that containers with these labels mount. */
  abstract mounted(labels: LabelValues): Promise<readonly string[]>;
  abstract isEmpty(name: string): Promise<boolean>;
  /** Everything in it as one tar: names below `volume/`, owners by number, modes, links, times, file capabilities; no other extended attributes. Holes are filled. */
  abstract read(name: string, signal: AbortSignal): AsyncIterable<Buffer>;
  /** Puts such a tar into it, over what is there. Resolves when the engine has all of it. */
  abstract write(name: string, tar: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void>;
  /** Whose the folder itself is: what a container that is not root's needs to write into a new one. */
  abstract own(name: string, uid: number, gid: number): Promise<void>;
  abstract pause(container: string): Promise<void>;
  abstract unpause(container: string): Promise<void>;
  abstract stop(container: string, timeoutS: number): Promise<void>;
  abstract start(container: string): Promise<void>;
  abstract removeContainer(container: string): Promise<void>;
  /** Takes away what a process that died in the middle left: its throw-away containers. Only while nobody reads or writes. */
  abstract tidy(): Promise<void>;
  abstract paused(labels: LabelValues): Promise<readonly Pick<VolumeUser, 'id' | 'labels'>[]>;
  /** Containers with these labels that are paused go on. */
  abstract unpauseAll(labels: LabelValues): Promise<void>;
}
