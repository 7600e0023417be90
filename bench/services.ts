/** Rows of PostgreSQL out and in again, by Berth and by hand: `export`, `import`, and each step of a backup and a restore, plain and encrypted. `bench/README.md` */
import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { run, startBerth } from '../test/lib/berth-fixture.js';
import { machine, memoryOf, option, random, Table, timed, verdict } from './lib.js';

const MB = option('mb', 1000);
const RUNS = option('runs', 1);
const TARGET = 1.1;

const berth = await startBerth({ instance: `bench${random()}` });
const dir = join(berth.root, 'work');
const file = (name: string): string => join(dir, name);

/** A line of shell: what a person would type. Throws when any part of it fails. */
async function sh(line: string, env: Record<string, string> = {}): Promise<number> {
  const words = Object.entries(env).map(([name, value]) => `${name}='${value}'`).join(' ');
  const { ms, value } = await timed(() => berth.sh(`set -eu\n${words}\n${line}`, { timeoutMs: 3_600_000 }));
  if (value.code !== 0) throw new Error(`${line} ended with ${value.code}: ${value.err}`);
  return ms;
}
const cli = async (args: readonly string[], stdin?: string): Promise<number> => {
  const { ms, value } = await timed(() => berth.cli(args, { timeoutMs: 3_600_000, ...(stdin !== undefined && { stdin }) }));
  if (value.code !== 0) throw new Error(`berth ${args.join(' ')}: ${value.out}${value.err}`);
  return ms;
};
const sql = async (text: string): Promise<string> => (await berth.cli(['postgres:connect', 'db', '-At'], { stdin: text, timeoutMs: 3_600_000 })).out.trim();

/** ms that each step of the newest operation took. */
function steps(): Record<string, number> {
  const db = new DatabaseSync(join(berth.root, 'berth.db'), { readOnly: true });
  try {
    const rows = db.prepare("SELECT json_extract(data, '$.step') AS step, json_extract(data, '$.tookMs') AS took FROM events WHERE type = 'OperationStepDone' AND position > (SELECT max(position) FROM events WHERE type = 'OperationRequested') ORDER BY position").all();
    return Object.fromEntries((rows as { step: string; took: number }[]).map(({ step, took }) => [step, took]));
  } finally {
    db.close();
  }
}

/** A throw-away server as a person would start it, the dump in it, counted, and gone. */
const drillOf = (open: string): string => `docker run -d --name $T --network none $IMAGE > /dev/null
until docker exec -u postgres $T pg_isready -q; do sleep 0.1; done
docker exec -u postgres $T createuser -s db; docker exec -u postgres $T createdb -O db db
${open} < $FROM | docker exec -i -u postgres $T pg_restore --clean --if-exists --no-owner --no-acl --single-transaction --exit-on-error -d db
docker exec -u postgres $T psql -qAt -d db -c 'select count(*) from rows' > /dev/null
docker rm -f -v $T > /dev/null`;
const DUMP = 'docker exec -u postgres $C pg_dump -Fc --no-owner --no-acl -d db';
const RESTORE = 'docker exec -i -u postgres $C pg_restore --clean --if-exists --no-owner --no-acl --single-transaction --exit-on-error -d db';
const CIPHER = 'openssl enc -chacha20 -pbkdf2 -pass pass:x';

const times = new Map<string, number[]>();
const note = (name: string, ms: number): void => { times.set(name, [...(times.get(name) ?? []), ms]); };
/** most memory of a process while something goes on, MB */
async function peakOf<T>(pid: number, work: () => Promise<T>): Promise<{ value: T; peak: number }> {
  let peak = 0;
  const watch = setInterval(() => { peak = Math.max(peak, memoryOf(pid).rss / 1024); }, 100);
  try {
    return { value: await work(), peak };
  } finally {
    clearInterval(watch);
  }
}

try {
  await cli(['postgres:create', 'db']);
  // half of a row is random: it compresses as text does
  await sql(`create table rows as select n as id, (select string_agg(md5(random()::text || n || m), '') from generate_series(1, 30) m) as text from generate_series(1, ${MB * 1000}) n; create index on rows (id); checkpoint;`);
  const count = await sql('select count(*) from rows');
  const { container } = await berth.json<{ container: string }>(['postgres:info', 'db']);
  const image = (await berth.engine<{ Image: string }>('GET', `/containers/${container}/json`)).Image;
  const env = { C: container, IMAGE: image, T: `${berth.instance}-by-hand` };
  console.log(`${MB} MB of rows (${await sql("select pg_size_pretty(pg_total_relation_size('rows'))")} in the server)`);
  const api = berth.program('api').pid!;
  let peak = 0;
  for (let n = 0; n < RUNS; n++) {
    note('by hand: dump', await sh(`${DUMP} > ${file('hand.dump')}; sync ${file('hand.dump')}`, env));
    const out = await peakOf(api, () => sh(`"$BERTH" postgres:export db > ${file('berth.dump')}; sync ${file('berth.dump')}`));
    note('export', out.value);
    note('by hand: restore', await sh(`${RESTORE} < ${file('hand.dump')}`, env));
    const back = await peakOf(api, () => sh(`"$BERTH" postgres:import db < ${file('berth.dump')}`));
    note('import', back.value);
    peak = Math.max(peak, out.peak, back.peak);
    for (const how of ['plain', 'encrypted']) {
      const cipher = how === 'plain' ? '' : ` | ${CIPHER}`;
      const open = how === 'plain' ? 'cat' : `${CIPHER} -d`;
      mkdirSync(file('place'), { recursive: true });
      if (how === 'encrypted') await cli(['postgres:backup-set-encryption', 'db'], 'x\n');
      note(`by hand, ${how}: dump`, await sh(`${DUMP}${cipher} > ${file('hand.spool')}; sync ${file('hand.spool')}`, env));
      note(`by hand, ${how}: store`, await sh(`cp ${file('hand.spool')} ${file('place/hand')}; sync ${file('place/hand')}`));
      note(`by hand, ${how}: check`, await sh(`sha256sum ${file('place/hand')} > /dev/null`));
      note(`by hand, ${how}: drill`, await sh(drillOf(open), { ...env, FROM: file('place/hand') }));
      await cli(['postgres:backup', 'db', file('place')]);
      for (const [step, took] of Object.entries(steps())) note(`${how}: ${step}`, took);
      note(`by hand, ${how}: fetch`, await sh(`cp ${file('place/hand')} ${file('hand.spool')}; sha256sum ${file('hand.spool')} > /dev/null`));
      note(`by hand, ${how}: safety`, await sh(`${DUMP}${cipher} > ${file('place/safety')}; sync ${file('place/safety')}; sha256sum ${file('place/safety')} > /dev/null`, env));
      note(`by hand, ${how}: import`, await sh(`${open} < ${file('hand.spool')} | ${RESTORE}`, env));
      await cli(['postgres:restore', 'db']);
      for (const [step, took] of Object.entries(steps())) note(`${how}, restore: ${step}`, took);
      if (how === 'encrypted') await cli(['postgres:backup-unset-encryption', 'db']);
      rmSync(file('place'), { recursive: true });
      if ((await sql('select count(*) from rows')) !== count) throw new Error('rows are missing');
    }
  }
  console.log(`a dump of ${Math.round(statSync(file('hand.dump')).size / 1e6)} MB`);
  const table = new Table('seconds', 's', 1);
  const seconds = (name: string): number[] => times.get(name)!.map((ms) => ms / 1000);
  const pairs: [string, string][] = [['export', 'by hand: dump'], ['import', 'by hand: restore']];
  for (const how of ['plain', 'encrypted']) {
    for (const step of ['dump', 'store', 'check', 'drill']) pairs.push([`${how}: ${step}`, `by hand, ${how}: ${step}`]);
    for (const step of ['fetch', 'drill', 'safety', 'import']) pairs.push([`${how}, restore: ${step}`, `by hand, ${how}: ${step}`]);
  }
  for (const [ours, hand] of pairs) {
    table.add(hand, seconds(hand));
    table.add(ours, seconds(ours), seconds(hand));
  }
  table.print();
  const ratio = (ours: string, hand: string): number => Math.min(...seconds(ours)) / Math.min(...seconds(hand));
  const sum = (names: readonly string[]): number => names.reduce((all, name) => all + Math.min(...seconds(name)), 0);
  for (const [ours, hand] of pairs.slice(0, 2)) verdict(ours, ratio(ours, hand), TARGET, '× by hand');
  for (const how of ['plain', 'encrypted']) {
    for (const [what, parts, prefix] of [['backup', ['dump', 'store', 'check', 'drill'], `${how}: `], ['restore', ['fetch', 'drill', 'safety', 'import'], `${how}, restore: `]] as const) {
      verdict(`${what}, ${how}`, sum(parts.map((step) => `${prefix}${step}`)) / sum(parts.map((step) => `by hand, ${how}: ${step}`)), TARGET, '× by hand');
    }
  }
  console.log(`the API had at most ${Math.round(peak)} MB meanwhile (${readFileSync(`/proc/${api}/status`, 'utf8').match(/VmHWM:\s+(\d+ kB)/)![1]} ever)`);
  console.log(machine());
} finally {
  await run('docker', ['rm', '-f', '-v', `${berth.instance}-by-hand`]);
  await berth.stop();
}
