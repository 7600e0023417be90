/** The labels on everything that Berth makes in the engine. Pure; the only place that knows their names. */
export const LABEL = {
  instance: 'berth.instance',
  app: 'berth.app',
  deploy: 'berth.deploy',
  attempt: 'berth.attempt',
  job: 'berth.job',
  type: 'berth.type',
  index: 'berth.index',
  release: 'berth.release',
  /** containers, networks, volumes: the service whose they are */
  service: 'berth.service',
  /** images: digest of everything the image was made from */
  source: 'berth.source',
  /** images: what Berth made it for, of packages: `service`. Whichever server of the machine wants one has it, so that they have no instance */
  made: 'berth.made',
  /** volumes: what the app calls it */
  storage: 'berth.storage',
  /** volumes: the restore that made it */
  restore: 'berth.restore',
  /** volumes: the job that made it to try a backup in it; it goes with the job */
  drill: 'berth.drill',
  /** throw-away containers that only hold a volume: the instance whose they are. They have no other label, for whatever has the instance's is swept */
  holder: 'berth.holder',
} as const;

/** `type` of the volumes in which buildpacks keep what they want to find again */
export const CACHE_VOLUME = 'buildpack-cache';

export type LabelName = keyof typeof LABEL;
export type LabelValues = Readonly<Partial<Record<LabelName, string | number>>>;

/** `{ app: 'a1', deploy: 7 }` → `{ 'berth.app': 'a1', 'berth.deploy': '7' }` */
export function labels(values: LabelValues): Record<string, string> {
  const made: Record<string, string> = {};
  for (const [name, value] of Object.entries(values)) if (value !== undefined) made[LABEL[name as LabelName]] = String(value);
  return made;
}

/** The other way round; labels that are not ours are left out. */
export function readLabels(found: Readonly<Record<string, string>> | null | undefined): Partial<Record<LabelName, string>> {
  const read: Partial<Record<LabelName, string>> = {};
  for (const [name, label] of Object.entries(LABEL)) {
    const value = found?.[label];
    if (value !== undefined) read[name as LabelName] = value;
  }
  return read;
}

/** The filter form of the engine's list calls. */
export function labelFilter(values: LabelValues): string[] {
  return Object.entries(labels(values)).map(([name, value]) => `${name}=${value}`);
}
