import { IsOptional, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { Arg, command, Flag, type OfflineContext } from '../commands/command.js';
import { publicAuditKey, readPublicKey } from './audit-key.js';
import { verifyLog } from './checkpoint.js';
import { readExport, type Exported } from './export-file.js';
import { verifyChain, type Verdict } from './verify.js';

/** the largest export that is read back */
const FILE_MAX = 1 << 30;
const KEY_MAX = 1 << 16;

export class VerifyInput {
  @IsOptional() @IsString() @Arg('an export instead of this server\'s log; needs no running Berth', { optional: true }) export?: string;
  @IsOptional() @IsString() @Flag('the same, read by the server and checked with its key', { type: 'string', label: 'export' }) file?: string;
  @IsOptional() @IsString() @Flag('an earlier export, or checkpoints, that the log must agree with', { type: 'string', label: 'file' }) against?: string;
  @IsOptional() @IsString() @Flag('the only key that may have signed its checkpoints: a public key, or a checkpoint that was kept', { type: 'string', label: 'file' }) key?: string;
}

interface Answer extends Verdict { readonly what: string; /** whose key the checkpoints' signatures were checked with */ readonly signer: 'server' | 'given' | 'file' | null }

interface Earlier { readonly hashes: Map<number, string>; readonly checkpoints: Exported['checkpoints'] }

/** What was kept elsewhere. */
async function earlierOf(context: OfflineContext, against: string | undefined): Promise<Earlier> {
  const hashes = new Map<number, string>();
  if (against === undefined) return { hashes, checkpoints: [] };
  const earlier = readExport(await context.file(against, FILE_MAX), against);
  for await (const page of earlier.pages()) for (const event of page) hashes.set(event.position, event.hash);
  return { hashes, checkpoints: earlier.checkpoints.map((each) => (each.at === null ? each : { ...each, where: `${against}, event ${each.at}`, at: null })) };
}

const keyIn = async (context: OfflineContext, key: string | undefined): Promise<string | null> => (key === undefined ? null : readPublicKey(await context.file(key, KEY_MAX), key));

/** An export against itself, what was kept elsewhere, and a key: `own` is the server's, where there is one. */
async function verifyExport(context: OfflineContext, name: string, { against, key }: VerifyInput, own: string | null): Promise<Answer> {
  const earlier = await earlierOf(context, against);
  const given = await keyIn(context, key);
  const exported = readExport(await context.file(name, FILE_MAX), name);
  if (exported.count === 0) throw new Rejected('audit.file', `${name} has checkpoints only, and no events`, `to compare the log with them: berth audit:verify --against ${name}`);
  const checkpoints = [...exported.checkpoints, ...earlier.checkpoints];
  // another server's export names its own key: its log is then at least in agreement with itself
  const signer = given ?? (exported.key !== null && exported.key !== own ? exported.key : (own ?? exported.key));
  const verdict = await verifyChain(exported.pages(), { from: exported.from, key: signer, earlier: earlier.hashes, checkpoints });
  return { what: name, signer: checkpoints.length === 0 ? null : given !== null ? 'given' : signer === own ? 'server' : 'file', ...verdict };
}

export const verifyCommand = command({
  name: 'audit:verify', summary: 'Check that no event was altered, removed, inserted or moved; exit 1 names the first', example: 'berth audit:verify log.jsonl --key checkpoint.json', input: VerifyInput, http: { method: 'GET', path: '/audit/verify' }, reads: true, local: true,
  offline: ({ export: name }) => name !== undefined,
  run: async (context, input): Promise<Answer> => {
    const { core } = context;
    if (input.export !== undefined) return verifyExport(context, input.export, input, null);
    if (input.file !== undefined) return verifyExport(context, input.file, input, publicAuditKey(core.config.root));
    const earlier = await earlierOf(context, input.against);
    const given = await keyIn(context, input.key);
    const { signed, ...verdict } = await verifyLog(core, earlier.checkpoints, earlier.hashes, context.signal, given);
    return { what: 'the log', signer: !signed ? null : given !== null ? 'given' : publicAuditKey(core.config.root) === null ? 'file' : 'server', ...verdict };
  },
  render: (answer, out, input) => {
    const { what, problem, events, head, checkpoints, covered, signer } = answer;
    if (problem) {
      out.warn(`${what} was tampered with: ${problem.kind} at position ${problem.position}${problem.type ? ` (${problem.type})` : ''}`);
      out.warn(problem.message);
      out.warn(`the ${events} events before are sound${input.export === undefined ? `; look: berth events --after ${Math.max(0, problem.position - 3)} -n 5` : ''}`);
      return 1;
    }
    out.info(`${events} events of ${what} are as they were written, up to position ${head.position}`);
    out.detail(`hash ${head.hash}`);
    if (checkpoints === 0) out.detail('no checkpoint vouches for them: whoever can write the database could have made the whole chain anew; take one and keep it elsewhere: berth audit:checkpoint');
    else out.detail(`${checkpoints} checkpoint${checkpoints === 1 ? '' : 's'} agree${checkpoints === 1 ? 's' : ''}; the last covers everything up to ${covered}`);
    if (signer === 'file' && input.export === undefined) out.warn('The signatures were checked with the key that the checkpoints themselves name: this server has another audit key, or has lost its own (keys/audit.key)');
    else if (signer === 'file') out.warn('The signatures were checked with the key that the file itself names: whoever made the file chose it. Give the one you keep: --key checkpoint.json');
    return 0;
  },
});
