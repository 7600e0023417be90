import { converse } from './converse.js';

// `berth`: hands its words to the API on the administrator's socket and does what the answer says. It knows no command.
// Signals keep their default: an interrupted client is a closed connection, and the shell sees 130 or 143.
converse({ socketPath: `${process.env['BERTH_RUN'] ?? '/run/berth'}/admin.sock`, argv: process.argv.slice(2), files: true });
