import { Transform } from 'class-transformer';
import { IsInt, IsOptional, IsString, Min } from 'class-validator';
import type { ChainedEvent } from '../../events/chain.js';
import { Rejected } from '../../events/decider.js';
import type { Checkpoint } from '../../events/types/audit.events.js';
import { command, Flag, forget, type CommandContext, type StreamItem } from '../commands/command.js';
import { when } from '../commands/words.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import { audit, recent } from './audit.decider.js';
import { auditKey, publicAuditKey, signCheckpoint } from './audit-key.js';
import { checkpointIn, exportLine, readExport, type ExportHead } from './export-file.js';
import { START, verifyChain, type Known, type Place, type Verdict } from './verify.js';

const PAGE = 2000;
/** the largest export that is read back */
const FILE_MAX = 1 << 30;
const STREAM = 'audit';

const number = Transform(({ value }) => (typeof value === 'string' ? Number(value) : value));

class VerifyInput {
  @IsOptional() @IsString() @Flag('an export instead of this server\'s log', { type: 'string', label: 'export' }) file?: string;
  @IsOptional() @IsString() @Flag('an earlier export, or checkpoints, that the log must agree with', { type: 'string', label: 'file' }) against?: string;
}
class ExportInput {
  @IsOptional() @number @IsInt() @Min(0) @Flag('from behind this position on', { type: 'number', label: 'position' }) after?: number;
}
class NoInput {}

/** The live log in pages, from behind `after` to the head as it was at the first page. */
async function* pagesOf(core: Core, after: number, until = Number.POSITIVE_INFINITY): AsyncGenerator<ChainedEvent[]> {
  for (let at = after; at < until;) {
    const page = (await core.store.readChain(at, PAGE)).filter((event) => event.position <= until);
    if (page.length > 0) yield page;
    if (page.length < PAGE) return;
    at = page.at(-1)!.position;
  }
}

/** The hash at `position`. @throws Rejected when there is no such event */
async function placeAt(core: Core, position: number): Promise<Place> {
  if (position === 0) return START;
  const [event] = await core.store.readChain(position - 1, 1);
  if (event?.position !== position) throw new Rejected('audit.position', `There is no event ${position} in the log`, `the newest is ${await core.store.head()}`);
  return { position, hash: event.hash };
}

async function checkpointsOf(core: Core): Promise<Known[]> {
  return (await core.store.readStream(STREAM)).flatMap(checkpointIn);
}

interface Answer extends Verdict { readonly what: string; /** whose key the checkpoints' signatures were checked with */ readonly signer: 'server' | 'file' | null }

async function verify(context: CommandContext, file: string | undefined, against: string | undefined): Promise<Answer> {
  const { core } = context;
  const earlier = against === undefined ? null : readExport(await context.file(against, FILE_MAX), against);
  const hashes = new Map<number, string>();
  if (earlier) for await (const page of earlier.pages()) for (const event of page) hashes.set(event.position, event.hash);
  const known = (earlier?.checkpoints ?? []).map((each) => (each.at === null ? each : { ...each, where: `${against}, event ${each.at}`, at: null }));
  const own = publicAuditKey(core.config.root);
  if (file === undefined) {
    const all = [...await checkpointsOf(core), ...known]; // before the head: what is taken meanwhile may lie beyond it
    const head = await core.store.head();
    const verdict = await verifyChain(pagesOf(core, 0, head), { from: START, key: own, earlier: hashes, checkpoints: all });
    return { what: 'the log', signer: all.length === 0 ? null : own === null ? 'file' : 'server', ...verdict };
  }
  const exported = readExport(await context.file(file, FILE_MAX), file);
  if (exported.count === 0) throw new Rejected('audit.file', `${file} has checkpoints only, and no events`, `to compare the log with them: berth audit:verify --against ${file}`);
  const all = [...exported.checkpoints, ...known];
  // another server's export names its own key: its log is then at least in agreement with itself
  const key = exported.key !== null && exported.key !== own ? exported.key : (own ?? exported.key);
  const verdict = await verifyChain(exported.pages(), { from: exported.from, key, earlier: hashes, checkpoints: all });
  return { what: file, signer: all.length === 0 ? null : key === own ? 'server' : 'file', ...verdict };
}

const verifyCommand = command({
  name: 'audit:verify', summary: 'Check that no event was altered, removed, inserted or moved; exit 1 names the first', example: 'berth audit:verify --file export.jsonl', input: VerifyInput, http: { method: 'GET', path: '/audit/verify' }, reads: true, local: true,
  run: (context, { file, against }) => verify(context, file, against),
  render: (answer, out) => {
    const { what, problem, events, head, checkpoints, covered, signer } = answer;
    if (problem) {
      out.warn(`${what} was tampered with: ${problem.kind} at position ${problem.position}${problem.type ? ` (${problem.type})` : ''}`);
      out.warn(problem.message);
      out.warn(`the ${events} events before are sound; look: berth events --after ${Math.max(0, problem.position - 3)} -n 5`);
      return 1;
    }
    out.info(`${events} events of ${what} are as they were written, up to position ${head.position}`);
    out.detail(`hash ${head.hash}`);
    if (checkpoints === 0) out.detail('no checkpoint vouches for them: whoever can write the database could have made the whole chain anew; take one and keep it elsewhere: berth audit:checkpoint');
    else out.detail(`${checkpoints} checkpoint${checkpoints === 1 ? '' : 's'} agree${checkpoints === 1 ? 's' : ''}; the last covers everything up to ${covered}`);
    if (signer === 'file') out.warn('The signatures were checked with the key that the checkpoints themselves name: this server has another audit key, or has lost its own (keys/audit.key)');
    return 0;
  },
});

const exportCommand = command({
  name: 'audit:export', summary: 'Print the log with its hashes, a line an event; secrets stay sealed', example: 'berth audit:export > log.jsonl', input: ExportInput, http: { method: 'GET', path: '/audit/export' }, reads: true, local: true,
  async *stream({ core, signal }, { after = 0 }): AsyncGenerator<StreamItem> {
    const from = await placeAt(core, after);
    const head: ExportHead = { berth: 'audit-export', version: 1, after, previous: from.hash, key: publicAuditKey(core.config.root) };
    yield { id: String(after), event: 'head', data: head };
    for await (const page of pagesOf(core, after, await core.store.head())) {
      for (const event of page) yield { id: String(event.position), event: event.type, data: exportLine(event) };
      if (signal.aborted) return;
    }
  },
  renderItem: (item, out) => out.line(JSON.stringify(item.data)),
});

const checkpoint = command({
  name: 'audit:checkpoint', summary: 'Sign the log as it stands, at most once a day; keep the answer elsewhere', example: 'berth audit:checkpoint --format json > checkpoint.json', input: NoInput, http: { method: 'POST', path: '/audit/checkpoints' }, reads: true, local: true,
  run: async (context): Promise<{ taken: boolean; checkpoint: Checkpoint }> => {
    const { core } = context;
    const takenAt = core.now();
    const last = (await core.repository.load(audit, STREAM)).state;
    if (last && !context.force && recent(last, takenAt)) return { taken: false, checkpoint: last };
    const head = await core.store.head();
    if (head === 0) throw new Rejected('audit.empty', 'There is nothing in the log yet');
    // what was not checked is not signed
    const from = last === null ? START : { position: last.position, hash: last.chain };
    const { problem, head: checked } = await verifyChain(pagesOf(core, from.position, head), { from, key: null, checkpoints: [], earlier: new Map() });
    if (problem) throw new Rejected('audit.broken', `The log is not as it was written, and is not signed so: ${problem.message}`, 'see: berth audit:verify');
    const made = signCheckpoint(auditKey(core.config.root), { position: checked.position, chain: checked.hash, takenAt });
    await change(context, 'audit:checkpoint', STREAM, (draft) => draft.decide(audit, STREAM, { type: 'Take', checkpoint: made, force: context.force }));
    return { taken: true, checkpoint: made };
  },
  render: ({ taken, checkpoint: made }, out) => {
    if (taken) out.info(`Signed the log up to event ${made.position}`);
    else out.info(`The log was signed up to event ${made.position} at ${when(made.takenAt)} UTC, less than a day ago; --force signs it again`);
    out.detail(`hash ${made.chain}`);
    out.detail('keep it elsewhere, and compare one day: berth audit:checkpoint --format json >> FILE; berth audit:verify --against FILE');
  },
});

export const auditCommands = [forget(verifyCommand), forget(exportCommand), forget(checkpoint)];
