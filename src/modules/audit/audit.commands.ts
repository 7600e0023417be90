import { Transform } from 'class-transformer';
import { IsInt, IsOptional, Min } from 'class-validator';
import { command, Flag, forget, type StreamItem } from '../commands/command.js';
import { when } from '../commands/words.js';
import { publicAuditKey } from './audit-key.js';
import { pagesOf, placeAt } from './log-pages.js';
import { takeCheckpoint } from './checkpoint.js';
import { exportLine, type ExportHead } from './export-file.js';
import { verifyCommand } from './verify.command.js';

const number = Transform(({ value }) => (typeof value === 'string' ? Number(value) : value));

class ExportInput {
  @IsOptional() @number @IsInt() @Min(0) @Flag('from behind this position on', { type: 'number', label: 'position' }) after?: number;
}
class NoInput {}

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
  run: ({ core, actor, force }) => takeCheckpoint(core, actor, force),
  render: ({ taken, checkpoint: made }, out) => {
    if (taken) out.info(`Signed the log up to event ${made.position}`);
    else out.info(`The log was signed up to event ${made.position} at ${when(made.takenAt)} UTC, less than a day ago; --force signs it again`);
    out.detail(`hash ${made.chain}`);
    out.detail(`signed with ${made.key}`);
    out.detail('keep it elsewhere, and compare one day: berth audit:checkpoint --format json >> FILE; berth audit:verify --against FILE');
  },
});

export const auditCommands = [forget(verifyCommand), forget(exportCommand), forget(checkpoint)];
