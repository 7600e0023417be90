import type { ReleaseInput } from '../../events/types/deploy.events.js';
import type { PipelineState } from '../deploys/pipeline.state.js';
import type { DeployStatus } from '../read/board.projection.js';

/** Whether a config var has the password, alone or in an address. A short one may be part of other words. */
export const carries = (value: string, password: string): boolean =>
  value === password || value.includes(`:${encodeURIComponent(password)}@`) || value.includes(`:${password}@`) || (password.length >= 16 && value.includes(password));

/** Versions of an app's config that its containers have. */
export interface ConfigVersions {
  /** of what serves; null: nothing does */
  readonly live: number | null;
  /** of what the running deploy has started, or will without asking again */
  readonly starting: readonly number[];
  /** of failed deploys, that a retry would start as they were */
  readonly again: readonly number[];
}

/** Pure. */
export function configVersions({ live, releases, running, failed }: PipelineState): ConfigVersions {
  const released = ({ step, input, learnt }: Pick<NonNullable<PipelineState['running']>, 'step' | 'input' | 'learnt'>): number[] => {
    const release = step === 'release' ? (input as ReleaseInput) : (learnt.inputs?.release as ReleaseInput | undefined);
    return release ? [release.configVersion] : [];
  };
  return {
    live: releases.find(({ number }) => number === live?.release)?.spec.configVersion ?? null,
    starting: running ? released(running) : [],
    again: Object.values(failed).flatMap((run) => (run.superseded === null ? released(run) : [])),
  };
}

/** An app, as far as one password is concerned. */
export interface Use {
  readonly name: string;
  /** its config vars that have it now */
  readonly keys: readonly string[];
  /** what serves was made with it */
  readonly live: boolean;
  /** what a running deploy has started, or will, is made with it */
  readonly starting: boolean;
  /** the deploy that runs, or its newest */
  readonly deploy: { readonly number: number; readonly status: DeployStatus } | null;
}

/** Why a password of before is still let in. `passes`: by itself, when what runs is over; `todo`: what else ends it. */
export interface Hold { readonly what: string; readonly passes: boolean; readonly todo: string | null }

const OPEN: readonly DeployStatus[] = ['waiting', 'running'];

function holdsOf({ name, keys, live, starting, deploy }: Use): Hold[] {
  const copied = keys.map((key): Hold => ({ what: `app ${name} has it in its config var ${key}`, passes: false, todo: `berth config:set ${name} ${key}=…` }));
  if (starting || (live && deploy && OPEN.includes(deploy.status))) return [...copied, { what: `app ${name}'s deploy ${deploy?.number ?? '?'} is ${deploy?.status ?? 'running'}`, passes: copied.length === 0, todo: null }];
  if (!live || copied.length > 0) return copied;
  const todo = `berth ps:restart ${name}`;
  if (deploy?.status === 'failed') return [{ what: `app ${name}'s deploy ${deploy.number} failed`, passes: false, todo: `see: berth deploys:show ${name} ${deploy.number}; then ${todo}` }];
  return [{ what: deploy?.status === 'cancelled' ? `app ${name}'s deploy ${deploy.number} was cancelled` : `app ${name} was not deployed since`, passes: false, todo }];
}

/**
 * What a login of before is still wanted for; nothing: it can be shut out. Pure.
 * @param containers names of those that run with it, as the engine shows them
 */
export function holds(uses: readonly Use[], containers: readonly string[]): Hold[] {
  const apps = uses.flatMap(holdsOf);
  return apps.length > 0 ? apps : containers.map((name) => ({ what: `container ${name} runs with it`, passes: true, todo: null }));
}
