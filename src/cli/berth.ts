import { converse } from './converse.js';
import { withoutServer } from './offline.js';
import { leave, refusal } from './output.js';

// `berth`: hands its words to the API on the administrator's socket and does what the answer says. It knows no command but those that need no server.
// Signals keep their default: an interrupted client is a closed connection, and the shell sees 130 or 143.
const argv = process.argv.slice(2);
withoutServer(argv).then((code) => {
  if (code === null) converse({ socketPath: `${process.env['BERTH_RUN'] ?? '/run/berth'}/admin.sock`, argv, files: true });
  else leave(code);
}, (error: unknown) => {
  process.stderr.write(refusal(`This went wrong: ${error instanceof Error ? error.message : String(error)}`));
  leave(1);
});
