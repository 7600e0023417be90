import { Transform } from 'class-transformer';
import { IsIn, IsInt, IsOptional, IsString, Matches, Max, Min } from 'class-validator';
import { isKey } from '../../drivers/copies/copy-store.port.js';
import { endpointOf } from '../../drivers/copies/place.js';
import { Rejected } from '../../events/decider.js';
import type { Sealed } from '../../events/sealed.js';
import type { CopySubject, Keep } from '../../events/types/copy.events.js';
import { DURING, type During } from '../backup/volumes.js';
import { Arg, command, Flag, forget, Rest, type AnyCommand, type CommandContext, type OperationAnswer } from '../commands/command.js';
import { bytes, table, when } from '../commands/words.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import { operate } from '../operations/operations.service.js';
import { age } from '../doctor/judge.js';
import { askBackup, folderOf, placeIn } from './ask.js';
import type { CopyWish } from './backup.kinds.js';
import { chosen, copies, type CopiesState } from './copies.decider.js';
import { KEEP } from './retention.plan.js';
import { dueTime, localZone, nextTime, timesOf } from './schedule.js';
import { copiesStream, groupOf } from './subject.js';
import { placeName, words } from './words.js';

/** What backups are of, as its commands name it. */
export interface Subjects<I extends object> {
  /** first part of the commands' names */
  readonly prefix: string;
  /** the words that name one */
  readonly input: new () => I;
  /** of the HTTP API, with those words in it */
  readonly path: string;
  /** `blog data` */
  readonly example: string;
  /** `a volume` */
  readonly what: string;
  /** who uses it is held still while it is read */
  readonly pauses: boolean;
  /** @throws Rejected when there is none */
  find(core: Core, input: I): Promise<One>;
  /** the one of that name that is there, or else the newest that was destroyed and has backups; absent: what was destroyed has none. @throws Rejected when there never was one */
  readonly others?: {
    find(core: Core, name: string, destroyed: boolean): Promise<One & { readonly destroyedAt: number | null }>;
    /** what the words that name one say */
    named(input: I): string;
  };
}
interface One { readonly subject: CopySubject; readonly name: string; /** key that seals its secrets */ readonly seal: string }

const number = Transform(({ value }: { value: unknown }) => (typeof value === 'string' && /^#?\d{1,9}$/.test(value) ? Number(value.replace('#', '')) : value));

/** One line that is piped in, or typed where nobody sees it; never a word of the command line. */
async function secretOf(context: CommandContext, prompt: string, example: string): Promise<string> {
  const given = context.hasStdin ? (await context.stdin(4096)).toString('utf8') : await context.askSecret(prompt).catch((error: unknown) => {
    throw error instanceof Rejected && error.code === 'input.no-terminal' ? new Rejected('backup.secret', 'It is piped in, or typed at a terminal', `for example: berth ${example}`) : error;
  });
  const text = given.replace(/\r?\n$/, '');
  if (text === '' || /[\r\n\0]/.test(text)) throw new Rejected('backup.secret', text === '' ? 'Nothing was given' : 'It is one line', `for example: berth ${example}`);
  return text;
}

function noWords(more: readonly string[] | undefined, example: string): void {
  if (more && more.length > 0) throw new Rejected('backup.secret', 'A secret on a command line can be seen by everybody on this machine, and stays in the shell\'s history: it is not taken', `pipe it in, or leave it out to be asked: berth ${example}`);
}

const said = (keep: Keep): string => `the last ${keep.last}, daily ${keep.daily}, weekly ${keep.weekly}, monthly ${keep.monthly}`;

/** The commands of the backups of one kind of thing. */
export function copyCommands<I extends object>({ prefix, input: Base, path, example, what, pauses, find, others }: Subjects<I>): AnyCommand[] {
  const name = (verb: string): string => `${prefix}:${verb}`;
  const Words = Base as new () => object;
  class OneInput extends Words {}
  class BackupInput extends Words {
    @IsOptional() @IsString() @Arg('where to: a folder or a bucket; that of the schedule when there is none', { optional: true, label: 'bucket|folder' }) place?: string;
  }
  class PausingInput extends BackupInput {
    @IsOptional() @IsIn(DURING) @Flag('what containers do while it is read: paused (unless said), stopped, running', { type: 'string', label: 'how' }) volumesWhile?: During;
  }
  class CopyInput extends Words {
    @IsOptional() @number @IsInt({ message: 'backup: a number as the list has it' }) @Min(1) @Arg('its number; the newest when there is none', { optional: true, label: 'backup' }) copy?: number;
    @IsOptional() @Flag('its passphrase is piped in: it is another one than today\'s') passphraseStdin?: boolean;
  }
  class ListInput extends Words {
    @IsOptional() @Flag('of the one of that name that was destroyed', { type: 'boolean' }) destroyed?: boolean;
  }
  class RestoreInput extends Words {
    @IsOptional() @Transform(({ value }: { value: unknown }) => (typeof value === 'number' ? String(value) : value)) @Matches(/^#?\d{1,9}$|^\/|^s3:\/\//, { message: 'backup: a number as the list has it, or where one lies: /folder/file, s3://bucket/prefix/object' })
    @Arg('its number, or where it lies (/folder/file, s3://bucket/prefix/object); the newest when there is none', { optional: true, label: 'backup' }) copy?: string;
    @IsOptional() @Flag('its passphrase is piped in: it is another one than today\'s') passphraseStdin?: boolean;
  }
  class FromInput extends RestoreInput {
    @IsOptional() @Matches(/^[a-z0-9-]+(?:\/\d{1,9})?$/, { message: 'from: blog/7, or blog for the newest' }) @Flag('a backup of another one, also of one that was destroyed: blog/7, or blog for the newest', { type: 'string', label: 'name/backup' }) from?: string;
  }
  class AuthInput extends Words {
    @IsString() @Arg('the id of the key', { label: 'key id' }) key!: string;
    @IsOptional() @Flag('the secret is piped in; otherwise it is asked for') secretStdin?: boolean;
    @IsOptional() @IsString() @Flag('the region (us-east-1)', { type: 'string', label: 'region' }) region?: string;
    @IsOptional() @IsString() @Flag('address of the S3 server; Amazon\'s when there is none', { type: 'string', label: 'url' }) endpoint?: string;
    @IsOptional() @IsString({ each: true }) @Rest('nothing more: the secret is piped in or asked for', { label: 'word', optional: true }) more?: string[];
  }
  class EncryptionInput extends Words {
    @IsOptional() @Flag('the passphrase is piped in; otherwise it is asked for') passphraseStdin?: boolean;
    @IsOptional() @IsString({ each: true }) @Rest('nothing more: the passphrase is piped in or asked for', { label: 'word', optional: true }) more?: string[];
  }
  class ScheduleInput extends Words {
    @IsString() @Arg('when, as cron has it: "0 3 * * *"', { label: 'cron' }) cron!: string;
    @IsString() @Arg('where to: a folder or a bucket', { label: 'bucket|folder' }) place!: string;
    @IsOptional() @IsString() @Flag('the time zone of its times (the server\'s)', { type: 'string', label: 'zone' }) tz?: string;
  }
  class KeepInput extends Words {
    @IsOptional() @number @IsInt() @Min(0) @Max(1000) @Flag(`the newest (${KEEP.last})`, { type: 'number', label: 'n' }) keepLast?: number;
    @IsOptional() @number @IsInt() @Min(0) @Max(1000) @Flag(`the newest of each of so many days (${KEEP.daily})`, { type: 'number', label: 'n' }) keepDaily?: number;
    @IsOptional() @number @IsInt() @Min(0) @Max(1000) @Flag(`… weeks (${KEEP.weekly})`, { type: 'number', label: 'n' }) keepWeekly?: number;
    @IsOptional() @number @IsInt() @Min(0) @Max(1000) @Flag(`… months (${KEEP.monthly})`, { type: 'number', label: 'n' }) keepMonthly?: number;
  }

  interface Found { readonly subject: CopySubject; readonly name: string; readonly seal: string; readonly group: string; readonly stream: string; readonly state: CopiesState }
  async function found(core: Core, input: object): Promise<Found> {
    const one = await find(core, input as I);
    const group = groupOf(one.subject);
    return { ...one, group, stream: copiesStream(group), state: (await core.repository.load(copies, copiesStream(group))).state };
  }
  /** The same for one that is there no more, where its backups may be wanted. */
  async function foundOnce(core: Core, input: ListInput): Promise<Found & { readonly destroyedAt: number | null }> {
    if (!others) return { ...await found(core, input), destroyedAt: null };
    const one = await others.find(core, others.named(input as unknown as I), input.destroyed ?? false);
    const group = groupOf(one.subject);
    return { ...one, group, stream: copiesStream(group), state: (await core.repository.load(copies, copiesStream(group))).state };
  }
  const secretly = async ({ core }: CommandContext, seal: string, text: string): Promise<Sealed> => core.box.seal(seal, text);

  const backup = command({
    name: name('backup'), summary: `Back up ${what}: written, read back, compared, restored into a throw-away instance and counted`, example: `berth ${name('backup')} ${example} s3://backups/berth`, input: pauses ? PausingInput : BackupInput, http: { method: 'POST', path: `${path}/backups` },
    run: async (context, input: PausingInput): Promise<OperationAnswer & { name: string; place: string }> => {
      const { subject, group, name: known, state } = await found(context.core, input);
      const place = input.place ?? state.schedule?.place;
      if (place === undefined) throw new Rejected('backup.place', 'Where to?', `for example: berth ${name('backup')} ${example} /var/backups/berth`);
      const { answer } = await change(context, name('backup'), group, (draft) => askBackup(draft, subject, place, context.actor, input.volumesWhile));
      return { group, operation: answer, name: known, place };
    },
    render: ({ name: known, place }, out) => out.info(`Backing up ${known} to ${place}`),
  });

  const list = command({
    name: name('backups'), summary: `List the backups of ${what}: age, size, when they were last tried, and what failed`, example: `berth ${name('backups')} ${example}`, input: others ? ListInput : OneInput, http: { method: 'GET', path: `${path}/backups` }, reads: true,
    run: async ({ core }, input) => {
      const { group, name: known, state, destroyedAt } = await foundOnce(core, input);
      const row = (await core.copies.now()).groups[group];
      const now = core.now();
      const next = state.schedule && nextTime(state.schedule, now);
      const at = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
      return {
        name: known, group, destroyed: at(destroyedAt), schedule: destroyedAt === null && state.schedule && { cron: state.schedule.cron, zone: state.schedule.zone, place: state.schedule.place, next: at(next), overdue: dueTime(state.schedule, state.schedule.done, now) !== null },
        encrypted: state.passphrase !== null, keep: state.keep, failed: row?.failed && { ...row.failed, at: at(row.failed.at) },
        backups: (row?.copies ?? []).toReversed().map((one) => ({ backup: one.copy, at: at(one.at)!, ageMs: now - one.at, kind: one.safety ? 'safety copy' : 'backup', bytes: one.bytes, sha256: one.sha256, count: one.count, drilledAt: at(one.drilledAt), place: placeName(one.place), key: one.key, encrypted: one.encrypted, failure: one.failure })),
      };
    },
    render: ({ name: known, backups, failed, schedule, keep, destroyed }, out) => {
      if (!out.quiet) out.section(`Backups of ${known}`);
      if (backups.length === 0 && destroyed === null) out.detail(`none: berth ${name('backup')} ${known.split(' ').slice(1).join(' ').replace('/', ' ')} /var/backups/berth`);
      else for (const line of table(['BACKUP', 'TAKEN (UTC)', 'AGE', 'SIZE', 'HOLDS', 'TRIED (UTC)', 'WHERE'], backups.map((b) => [
        String(b.backup), when(Date.parse(b.at)), age(b.ageMs), bytes(b.bytes), b.count ? words(b.count) : b.kind, b.failure ? `failed: ${b.failure.message}` : b.drilledAt === null ? 'read back' : when(Date.parse(b.drilledAt)), `${b.place}/${b.key}${b.encrypted ? ' (encrypted)' : ''}`,
      ]))) out.line(line);
      if (destroyed !== null) out.detail(`${known} was destroyed ${destroyed}${backups.length === 0 ? '' : `; a new one takes what it had: berth ${name('create')} <new>, then berth ${name('restore')} <new> --from ${known.split(' ').at(-1)!}/${backups[0]!.backup}`}`);
      if (schedule) out.detail(`schedule: ${schedule.cron} (${schedule.zone}) to ${schedule.place}, next ${schedule.next}; ${said(keep)}`);
      if (failed) out.warn(`${failed.what === 'verify' ? `The trial of backup ${failed.copy}` : 'The last one'} failed in ${failed.step}, ${failed.at}: ${failed.failure.message}`);
    },
  });

  const verify = command({
    name: name('backup-verify'), summary: 'Read a backup back and restore it into a throw-away instance, once more', example: `berth ${name('backup-verify')} ${example} 7`, input: CopyInput, http: { method: 'POST', path: `${path}/backups/verify` },
    run: (context, input) => onCopy(context, input, 'backup-verify', 'backup-verify'),
    render: ({ name: known, copy }, out) => out.info(`Trying backup ${copy} of ${known}`),
  });

  const restore = command({
    name: name('restore'), summary: `Bring a backup of ${what} back; a safety copy of what is there is taken first`, example: `berth ${name('restore')} ${example} 7`, input: others ? FromInput : RestoreInput, http: { method: 'POST', path: `${path}/restore` },
    run: async (context, { copy, from, ...input }: FromInput) => {
      if (copy !== undefined && from !== undefined) throw new Rejected('backup.which', 'One backup can be brought back, not two', `for example: berth ${name('restore')} ${example} --from blog/7`);
      const number = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text.replace('#', '')));
      const given = { ...input, ...(copy !== undefined && /^#?\d/.test(copy) && { copy: number(copy)! }) };
      if (from !== undefined) {
        const [other = '', wanted] = from.split('/');
        return onCopy(context, given, 'restore', 'restore', { name: other, copy: number(wanted) });
      }
      return onCopy(context, given, 'restore', 'restore', copy !== undefined && given.copy === undefined ? copy : undefined);
    },
    render: ({ name: known, told }, out) => out.info(`Restoring ${known} from ${told}`),
    finish: async (_, { operation, name: known }, out) => { out.info(`${known} is as it was in that backup; what was there before is safety copy ${operation}, where there was anything`); },
  });

  /** What lies where no log knows of it, and what opens it. @throws Rejected */
  function objectAt(state: CopiesState, text: string): NonNullable<CopyWish['object']> {
    const [, folder = '', key = ''] = /^(.*)\/([^/]*)$/.exec(text) ?? [];
    if (!isKey(key) || folder === '' || folder === 's3:/') throw new Rejected('backup.object', `'${text.slice(0, 200)}' is no file and no object of a bucket`, `for example: berth ${name('restore')} ${example} s3://backups/berth/2026-11-23T03-00-00Z-7.dump`);
    const place = placeIn(state, folder);
    if (place.type === 's3' && state.auth === null) throw new Rejected('copies.key', `There is no key for s3://${place.bucket}`, `first: berth ${name('backup-auth')} ${example} <key id>`);
    return { place, key };
  }

  /** @param other a copy of another one, or where one lies that is in no list */
  async function onCopy(context: CommandContext, input: CopyInput, verb: string, kind: string, other?: string | { readonly name: string; readonly copy: number | undefined }): Promise<OperationAnswer & { name: string; copy: number; told: string }> {
    const { core } = context;
    const { subject, group, name: known, seal, stream } = await found(core, input);
    // of its own name: one that was there before it
    const from = typeof other === 'object' ? await others!.find(core, other.name, other.name === others!.named(input as unknown as I)) : null;
    const passphrase = input.passphraseStdin ? await secretly(context, seal, await secretOf(context, 'Passphrase: ', `${name(verb)} ${example} --passphrase-stdin < passphrase.txt`)) : undefined;
    const folder = ['safety', ...await folderOf(subject, core)];
    const { answer } = await change(context, name(verb), group, async (draft) => {
      const own = (await draft.load(copies, stream)).state;
      const object = typeof other === 'string' ? objectAt(own, other) : null;
      const theirs = from && (await draft.load(copies, copiesStream(groupOf(from.subject)))).state;
      const copy = object ? 0 : chosen(theirs ?? own, from ? (other as { copy: number | undefined }).copy : input.copy, from ? `${name('backups')} ${from.name.split(' ').at(-1)!}` : `${name('backups')} ${example}`).copy;
      const wish: CopyWish = { subject, copy, folder, ...(passphrase && { passphrase }), ...(from && { from: groupOf(from.subject) }), ...(object && { object }) };
      const told = object ? `${placeName(object.place)}/${object.key}` : `backup ${copy}${from ? ` of ${from.name}` : ''}`;
      return { copy, told, operation: await operate(draft, group, { kind, subject: known, input: wish, by: context.actor }) };
    });
    return { group, name: known, ...answer };
  }

  const auth = command({
    name: name('backup-auth'), summary: 'Keep the key of the bucket that backups go to (its secret piped in or typed)', example: `berth ${name('backup-auth')} ${example} AKIAEXAMPLE --endpoint https://s3.example.com --secret-stdin < secret.txt`, input: AuthInput, http: { method: 'POST', path: `${path}/backup-key` },
    run: async (context, input) => {
      const call = `${name('backup-auth')} ${example} AKIAEXAMPLE --secret-stdin < secret.txt`;
      noWords(input.more, call);
      if (!/^[\x21-\x7e]{1,128}$/.test(input.key)) throw new Rejected('backup.key', 'That is no id of a key', `for example: berth ${call}`);
      const region = input.region ?? 'us-east-1';
      if (!/^[a-z0-9-]{1,40}$/.test(region)) throw new Rejected('backup.region', `'${region.slice(0, 60)}' is no region`, 'for example: --region eu-central-1');
      const endpoint = input.endpoint === undefined ? null : endpointOf(input.endpoint);
      const { group, stream, seal, name: known } = await found(context.core, input);
      const secret = await secretly(context, seal, await secretOf(context, `Secret of ${input.key}: `, call));
      await change(context, name('backup-auth'), group, (draft) => draft.decide(copies, stream, { type: 'SetAuth', group, auth: { id: input.key, secret, region, endpoint } }));
      return { name: known, key: input.key, region, endpoint };
    },
    render: ({ name: known, key, endpoint, region }, out) => out.info(`Backups of ${known} go to ${endpoint ?? `S3 in ${region}`} with the key ${key} (secret sealed)`),
  });

  const encrypt = command({
    name: name('backup-set-encryption'), summary: 'Encrypt backups from now on (age), with a passphrase that is piped in or typed', example: `berth ${name('backup-set-encryption')} ${example} --passphrase-stdin < passphrase.txt`, input: EncryptionInput, http: { method: 'POST', path: `${path}/backup-encryption` },
    run: async (context, input) => {
      const call = `${name('backup-set-encryption')} ${example} --passphrase-stdin < passphrase.txt`;
      noWords(input.more, call);
      const { group, stream, seal, name: known } = await found(context.core, input);
      const passphrase = await secretly(context, seal, await secretOf(context, 'Passphrase: ', call));
      await change(context, name('backup-set-encryption'), group, (draft) => draft.decide(copies, stream, { type: 'SetEncryption', group, passphrase }));
      return { name: known };
    },
    render: ({ name: known }, out) => {
      out.info(`Backups of ${known} are encrypted from now on`);
      out.detail('keep the passphrase elsewhere, too: without it, and without this server, nothing opens them. age -d does, with it');
    },
  });

  /** What is said with one decision, and no secret. */
  const simple = (verb: string, summary: string, http: { method: 'DELETE'; path: string }, type: 'UnsetAuth' | 'UnsetEncryption' | 'Unschedule', done: string): AnyCommand => forget(command({
    name: name(verb), summary, example: `berth ${name(verb)} ${example}`, input: OneInput, http,
    run: async (context, input) => {
      const { group, stream, name: known } = await found(context.core, input);
      await change(context, name(verb), group, (draft) => draft.decide(copies, stream, { type, group }));
      return { name: known };
    },
    render: ({ name: known }, out) => out.info(`${known}: ${done}`),
  }));

  const schedule = command({
    name: name('backup-schedule'), summary: `Back up ${what} at times; one that was missed is caught up`, example: `berth ${name('backup-schedule')} ${example} "0 3 * * *" s3://backups/berth`, input: ScheduleInput, http: { method: 'PUT', path: `${path}/backup-schedule` },
    run: async (context, input) => {
      const { subject, group, stream, name: known, state } = await found(context.core, input);
      const times = timesOf(input.cron, input.tz ?? localZone());
      const place = placeIn(state, input.place);
      if (place.type === 's3' && state.auth === null) throw new Rejected('copies.key', `There is no key for s3://${place.bucket}`, `first: berth ${name('backup-auth')} ${example} <key id>`);
      const now = context.core.now();
      await change(context, name('backup-schedule'), group, (draft) => draft.decide(copies, stream, { type: 'Schedule', group, subject, ...times, place: input.place, now }));
      return { name: known, ...times, place: input.place, next: new Date(nextTime(times, now)).toISOString() };
    },
    render: ({ name: known, cron, zone, place, next }, out) => out.info(`Backing up ${known} at ${cron} (${zone}) to ${place}; next ${next}`),
  });

  const cat = command({
    name: name('backup-schedule-cat'), summary: 'Show the schedule of backups', example: `berth ${name('backup-schedule-cat')} ${example}`, input: OneInput, http: { method: 'GET', path: `${path}/backup-schedule` }, reads: true,
    run: async ({ core }, input) => {
      const { state } = await found(core, input);
      if (!state.schedule) throw new Rejected('backup.schedule', 'It has no schedule', `give one: berth ${name('backup-schedule')} ${example} "0 3 * * *" /var/backups/berth`);
      const { cron, zone, place } = state.schedule;
      return { cron, zone, place };
    },
    render: ({ cron, zone, place }, out) => out.line(`${cron} (${zone}) ${place}`),
  });

  const retention = command({
    name: name('backup-retention'), summary: 'Say how many backups stay, by age; what is not said stays as it is', example: `berth ${name('backup-retention')} ${example} --keep-daily 14 --keep-monthly 12`, input: KeepInput, http: { method: 'PUT', path: `${path}/backup-retention` },
    run: async (context, { keepLast, keepDaily, keepWeekly, keepMonthly, ...input }) => {
      const { group, stream, name: known, state: { keep: before } } = await found(context.core, input);
      const keep: Keep = { last: keepLast ?? before.last, daily: keepDaily ?? before.daily, weekly: keepWeekly ?? before.weekly, monthly: keepMonthly ?? before.monthly };
      await change(context, name('backup-retention'), group, (draft) => draft.decide(copies, stream, { type: 'Keep', group, keep }));
      return { name: known, keep };
    },
    render: ({ name: known, keep }, out) => out.info(`Of the backups of ${known} stay: ${said(keep)}`),
  });

  return [
    forget(backup), forget(list), forget(verify), forget(restore), forget(auth),
    simple('backup-deauth', 'Forget the key of the bucket', { method: 'DELETE', path: `${path}/backup-key` }, 'UnsetAuth', 'the key is forgotten'),
    forget(encrypt), simple('backup-unset-encryption', 'Encrypt backups no more; those that are stay so', { method: 'DELETE', path: `${path}/backup-encryption` }, 'UnsetEncryption', 'backups are not encrypted any more'),
    forget(schedule), forget(cat), simple('backup-unschedule', 'Back up at no time by itself any more', { method: 'DELETE', path: `${path}/backup-schedule` }, 'Unschedule', 'no backup is taken by itself any more'), forget(retention),
  ];
}
