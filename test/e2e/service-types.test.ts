import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CreateBucketCommand, GetObjectCommand, GetObjectTaggingCommand, HeadObjectCommand, ListObjectVersionsCommand, PutBucketVersioningCommand, PutObjectCommand, PutObjectTaggingCommand, S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SERVICE_TYPES } from '../../src/plugins/services/types.js';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { refuses, succeeds } from './berth.kit.js';

/** Every type that the distribution packages, through the same life. `npm run test:services`; BERTH_SERVICES=mariadb,nats for some. */
const wanted = process.env['BERTH_SERVICES'];

interface Piped { readonly words: readonly string[]; readonly piped: string }
interface Life {
  /** words for `connect`, or what is piped into it, or both */
  readonly write: string | readonly string[] | Piped;
  readonly read: string | readonly string[];
  readonly sees: RegExp;
  /** null: there is no password */
  readonly dsn: RegExp;
  readonly keeps: boolean;
  /** program in its container that logs in as an app does, by the DSN; where there is none, `connect` does so */
  readonly login?: (dsn: URL) => readonly string[];
  /** further steps while it has what was written */
  further?(type: string): Promise<void>;
}

const SQL: Life = {
  write: `create table parent (id int primary key, text varchar(50)); create table child (id int primary key auto_increment, parent int, text varchar(50), foreign key (parent) references parent (id) on delete cascade);
insert into parent values (1, 'kept'); create view texts as select text from parent; create function twice(n int) returns int deterministic return n * 2;
create trigger shout before insert on child for each row set new.text = upper(new.text); create event nightly on schedule every 1 day do delete from child where id < 0; insert into child (parent, text) values (1, 'loud');`,
  read: 'select t.text, c.text, twice(21), (select count(*) from information_schema.events where event_schema = database()) from texts t, child c order by c.id desc limit 1', sees: /kept\tLOUD\t42\t1\n/, keeps: true, dsn: /^mysql:\/\/my_db:[0-9a-f]{32}@berth-\w+-my-db:3306\/my_db$/,
  login: ({ hostname, username, password, pathname }) => ['mariadb', '-h', hostname, '-u', username, `--password=${password}`, '-e', 'select * from texts', pathname.slice(1)],
  further: async (type) => {
    if (type === 'mysql') expect(await ok(['mysql:info', 'my-db'])).toContain('Debian\'s MySQL is MariaDB');
    // from another service: its user makes views, triggers and routines now
    await ok([`${type}:create`, 'mysql']);
    await ok([`${type}:connect`, 'mysql'], "create table old (text varchar(9)); create view of_old as select text from old; create trigger t before insert on old for each row set new.text = 'old'; insert into old values ('x');");
    const { out, err, code } = await berth.sh(`cd "${work()}" && "$BERTH" ${type}:export my-db > dump && head -c -42 dump > cut && head -c 3000 dump > half && sed 's/^INSERT INTO .child. VALUES/INSERT INTO nowhere VALUES/' dump > wrong && { cat dump; echo 'USE \`other\`;'; echo 'USE \`mysql\`;'; tail -n 1 dump; } > several && wc -c dump`);
    expect(code, out + err).toBe(0);
    for (const [file, why] of [['cut', 'cut off'], ['half', 'sh ended with 1'], ['wrong', 'Table \'nowhere\' was not locked'], ['several', 'several databases']] as const) {
      expect(await refused([`${type}:import`, 'mysql'], readFileSync(join(work(), file)))).toContain(why);
      expect(await ok([`${type}:connect`, 'mysql', '-N'], 'insert into old values (1); select * from of_old; show databases')).toMatch(/^old\nold\n(?![\s\S]*__new)/);
      await ok([`${type}:connect`, 'mysql'], 'delete from old limit 1');
    }
    for (const again of [1, 2]) {
      await ok([`${type}:import`, 'mysql'], readFileSync(join(work(), 'dump')));
      expect(await ok([`${type}:connect`, 'mysql', '-N'], SQL.read as string), `import ${again}`).toMatch(SQL.sees);
    }
    expect(await ok([`${type}:connect`, 'mysql', '-N'], "insert into child (parent, text) values (1, 'more'); select text from child order by id; show tables; show databases")).toMatch(/^LOUD\nMORE\nchild\nparent\ntexts\ninformation_schema\nmysql\nmysql_db\nperformance_schema\nsys\n$/);
    expect(await refused([`${type}:connect`, 'mysql'], "insert into child (parent, text) values (2, 'orphan')")).toContain('foreign key constraint');
    expect(await ok([`${type}:connect`, 'mysql', '-N'], 'select distinct definer from information_schema.triggers where trigger_schema = database()')).toBe('mysql_db@%\n');
    await ok([`${type}:destroy`, 'mysql', '--confirm', 'mysql', '--no-dump']);
  },
};
const LIVES: Readonly<Record<string, Life>> = {
  postgres: { write: "create table notes (text text); insert into notes values ('kept')", read: 'select text from notes', sees: /kept/, keeps: true, dsn: /^postgres:\/\/my_db:[0-9a-f]{32}@berth-postgres-my-db:5432\/my_db$/ },
  redis: { write: ['set', 'a', 'kept'], read: ['get', 'a'], sees: /^kept$/m, keeps: true, dsn: /^redis:\/\/:[0-9a-f]{32}@berth-redis-my-db:6379$/ },
  mariadb: SQL,
  mysql: SQL,
  rabbitmq: { write: ['set_policy', '-p', 'my_db', 'kept', '.*', '{"max-length":7}'], read: ['list_policies', '-p', 'my_db'], sees: /kept/, keeps: true, dsn: /^amqp:\/\/my_db:[0-9a-f]{32}@berth-rabbitmq-my-db:5672\/my_db$/, login: ({ username, password }) => ['rabbitmqctl', '-q', 'authenticate_user', username, password] },
  memcached: { write: 'set a 0 0 4\nkept', read: ['get', 'a'], sees: /^kept$/m, keeps: false, dsn: /^memcached:\/\/berth-memcached-my-db:11211$/ },
  nats: {
    write: 'SUB answer 1\nPUB $JS.API.STREAM.CREATE.notes answer 38\n{"name":"notes","subjects":["note.*"]}\nPUB note.a answer 4\nkept',
    read: 'SUB answer 1\nPUB $JS.API.STREAM.MSG.GET.notes answer 9\n{"seq":1}', sees: /"data":"a2VwdA=="/, keeps: true, dsn: /^nats:\/\/my_db:[0-9a-f]{32}@berth-nats-my-db:4222$/,
  },
  s3: {
    write: { words: ['rcat', '--header-upload', 'content-type: text/special', '--header-upload', 'x-amz-meta-mark: kept', 's3:my-db/a folder/ünï.txt'], piped: 'what is kept' },
    // by the bucket's own name, as most clients ask; a clone's bucket is called like the clone
    read: ['lsjson', '-R', '--metadata', '--files-only', 's3:'], sees: /ünï\.txt",.*"Size":12,"MimeType":"text\/special".*"mark":"kept"/, keeps: true,
    dsn: /^s3:\/\/my_db:[0-9a-f]{32}@berth-s3-my-db:9000\/my-db\?region=us-east-1$/,
    login: ({ host, username, password, pathname }) => ['rclone', '--config=', '--retries=1', 'lsf', `:s3,provider=Other,region=us-east-1,force_path_style=false,access_key_id=${username},secret_access_key=${password},endpoint='http://${host}':${pathname.slice(1)}`],
    further: async () => {
      const port = /(\d+)->9000/.exec(await ok(['s3:expose', 'my-db']) + await ok(['s3:info', 'my-db', '--exposed-ports']))![1];
      const { username, password } = new URL((await ok(['s3:info', 'my-db', '--dsn'])).trim());
      const client = new S3Client({ region: 'us-east-1', endpoint: `http://127.0.0.1:${port}`, forcePathStyle: true, credentials: { accessKeyId: username, secretAccessKey: password } });
      const own = { Bucket: 'my-db', Key: 'many/times' };
      await client.send(new PutBucketVersioningCommand({ Bucket: 'my-db', VersioningConfiguration: { Status: 'Enabled' } }));
      for (const Body of ['first', 'second']) await client.send(new PutObjectCommand({ ...own, Body, Metadata: { body: Body } }));
      await client.send(new PutObjectTaggingCommand({ ...own, Tagging: { TagSet: [{ Key: 'a', Value: 'b' }] } }));
      await client.send(new CreateBucketCommand({ Bucket: 'another' }));
      const many = new Upload({ client, params: { Bucket: 'another', Key: 'large', Body: Buffer.alloc(12 << 20, 'x') } });
      await many.done();
      const versions = async (Bucket: string) => Promise.all((await client.send(new ListObjectVersionsCommand({ Bucket, Prefix: 'many' }))).Versions!.map(async ({ VersionId }) => (await client.send(new GetObjectCommand({ ...own, VersionId }))).Metadata!['body']));
      expect(await versions('my-db')).toEqual(['second', 'first']);

      const { out, err, code } = await berth.sh(`cd "${work()}" && "$BERTH" s3:export my-db > dump && head -c -10240 dump > cut && head -c 700 dump > half && wc -c dump`);
      expect(code, out + err).toBe(0);
      await client.send(new PutObjectCommand({ ...own, Body: 'third' }));
      await client.send(new PutObjectCommand({ Bucket: 'my-db', Key: 'late', Body: 'x' }));
      for (const [file, why] of [['cut', 'cut off'], ['half', 'bash ended with']] as const) {
        expect(await refused(['s3:import', 'my-db'], readFileSync(join(work(), file)))).toContain(why);
        expect(await ok(['s3:connect', 'my-db', 'cat', 's3:my-db/many/times'])).toBe('third');
      }
      expect(await refused(['s3:import', 'my-db'], 'a text that is no archive')).toContain('not what berth s3:export writes');
      for (const again of [1, 2]) {
        await ok(['s3:import', 'my-db'], readFileSync(join(work(), 'dump')));
        expect(await ok(['s3:connect', 'my-db', 'lsf', '-R', '--files-only', 's3:']), `import ${again}`).toBe('another/large\nmy-db/a folder/ünï.txt\nmy-db/many/times\n');
      }
      expect(await versions('my-db')).toEqual(['second', 'first']);
      expect((await client.send(new GetObjectTaggingCommand(own))).TagSet).toEqual([{ Key: 'a', Value: 'b' }]);
      expect((await client.send(new HeadObjectCommand({ Bucket: 'another', Key: 'large' }))).ETag).toMatch(/-3"$/);
      await mkdir(join(work(), 'backups'));
      await ok(['s3:backup', 'my-db', join(work(), 'backups')]);
      expect(await ok(['s3:backups', 'my-db'])).toMatch(/objects/);
      await ok(['s3:restore', 'my-db']);
      expect(await versions('my-db')).toEqual(['second', 'first']);

      // written over without a pause: what a dump has of an object is all of one time
      let over = false;
      const busy = [0, 1, 2, 3].map(async (n) => {
        while (!over) {
          const Body = randomBytes(20_000);
          await client.send(new PutObjectCommand({ Bucket: 'another', Key: `busy/${n % 2}`, Body, Metadata: { md5: createHash('md5').update(Body).digest('hex') } }));
        }
      });
      const exported = await berth.sh(`cd "${work()}" && for n in 1 2 3 4; do "$BERTH" s3:export my-db > busy$n || exit 1; done`).finally(() => { over = true; });
      await Promise.all(busy);
      expect(exported.code, exported.out + exported.err).toBe(0);
      for (const n of [1, 2, 3, 4]) {
        await ok(['s3:import', 'my-db'], readFileSync(join(work(), `busy${n}`)));
        for (const key of ['busy/0', 'busy/1']) {
          const { Body, Metadata } = await client.send(new GetObjectCommand({ Bucket: 'another', Key: key }));
          expect(createHash('md5').update(await Body!.transformToByteArray()).digest('hex')).toBe(Metadata!['md5']);
        }
      }
      client.destroy();
    },
  },
};

let berth: Fixture;
const work = (): string => join(berth.root, 'work');
async function ok(args: readonly string[], stdin?: string | Buffer): Promise<string> {
  const { out } = await succeeds(berth, args, { timeoutMs: 290_000, ...(stdin !== undefined && { stdin }) });
  return out;
}
const refused = (args: readonly string[], stdin?: string | Buffer): Promise<string> => refuses(berth, args, { timeoutMs: 290_000, ...(stdin !== undefined && { stdin }) });
function connect(type: string, name: string, what: Life['write']): Promise<string> {
  if (typeof what === 'string') return ok([`${type}:connect`, name, ...(/^(?:mariadb|mysql)$/.test(type) ? ['-N'] : [])], what);
  return 'piped' in what ? ok([`${type}:connect`, name, ...what.words], what.piped) : ok([`${type}:connect`, name, ...what]);
}

describe.skipIf(wanted === undefined)('types of services', () => {
  beforeAll(async () => { berth = await startBerth(); });
  afterAll(async () => {
    await berth.stop();
    expect(await berth.owned()).toEqual({ containers: [], networks: [], volumes: [], images: [] });
  });

  const packaged = SERVICE_TYPES.filter((type) => type.packaged !== null && (wanted === 'all' || wanted?.split(',').includes(type.type)));
  it.each(packaged.map((type) => [type.type, type] as const))('%s', { timeout: 900_000 }, async (name, type) => {
    const life = LIVES[name]!;
    await ok([`${name}:create`, 'my-db']);
    const dsn = (await ok([`${name}:info`, 'my-db', '--dsn'])).trim();
    expect(dsn).toMatch(life.dsn);
    expect((await ok([`${name}:info`, 'my-db', '--version'])).trim()).toMatch(new RegExp(`^${type.version}\\b.*\\d`));
    await connect(name, 'my-db', life.write);
    expect(await connect(name, 'my-db', life.read)).toMatch(life.sees);
    if (type.dumps !== null) {
      await ok([`${name}:clone`, 'my-db', 'copy']);
      expect(await connect(name, 'copy', life.read)).toMatch(life.sees);
      expect(await ok([`${name}:destroy`, 'copy', '--confirm', 'copy'])).toContain('Took a last dump');
    } else {
      for (const verb of ['export', 'import', 'clone']) expect(await refused([`${name}:${verb}`, 'my-db'])).toContain(`There is no ${verb} for ${type.title}: `);
    }
    await life.further?.(name);
    if (life.login) await ok([`${name}:enter`, 'my-db', ...life.login(new URL(dsn))]);
    if (type.rotation === null) {
      expect(await refused([`${name}:rotate`, 'my-db'])).toContain('asks nobody for a password');
      expect(await refused([`${name}:create`, 'another', '--password'], 'a-password')).toContain('asks nobody for a password');
    }
    if (type.rotation !== null) {
      // to the second user, and back to the first
      for (let now = dsn, turn = 0; turn < 2; turn += 1) {
        await ok([`${name}:rotate`, 'my-db']);
        await berth.until('the old password to be shut out', async () => (await berth.cli([`${name}:info`, 'my-db', '--old-password'])).out === '-\n', 90_000);
        const next = (await ok([`${name}:info`, 'my-db', '--dsn'])).trim();
        expect(next).not.toBe(now);
        if (life.login) {
          await ok([`${name}:enter`, 'my-db', ...life.login(new URL(next))]);
          expect(await refused([`${name}:enter`, 'my-db', ...life.login(new URL(now))])).toMatch(/denied|failed to authenticate|SignatureDoesNotMatch|InvalidAccessKeyId/);
        }
        now = next;
      }
    }
    await ok([`${name}:restart`, 'my-db']);
    if (life.keeps) expect(await connect(name, 'my-db', life.read)).toMatch(life.sees);
    await ok([`${name}:destroy`, 'my-db', '--confirm', 'my-db', '--no-dump']);
  });

  it('that nobody packages say so when their registry cannot be found, and can be destroyed', async () => {
    const said = await refused(['mongo:create', 'far', '--image', 'no-registry.invalid/mongo:8']);
    expect(said).toContain('image.no-registry');
    expect(said).toMatch(/no such host|server misbehaving/);
    expect(await berth.json(['mongo:info', 'far'])).toMatchObject({ status: 'failed', container: '-', image: 'no-registry.invalid/mongo:8' });
    await ok(['mongo:destroy', 'far', '--confirm', 'far']);
    expect((await berth.cli(['mongo:exists', 'far'])).code).toBe(20);
  });
});
