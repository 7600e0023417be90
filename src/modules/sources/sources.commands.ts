import { builderCommands } from '../builds/builder.commands.js';
import { composeCommands } from '../builds/compose.commands.js';
import { forget } from '../commands/command.js';
import { accessCommands } from './access.commands.js';
import { fromArchiveCommand } from './archive.commands.js';
import { fromImageCommand, loadImageCommand } from './image.commands.js';
import { syncCommand } from './sync.commands.js';

/** Where code comes from, and how it is built. */
export const sourceCommands = [forget(fromArchiveCommand), forget(fromImageCommand), forget(loadImageCommand), forget(syncCommand), ...accessCommands, ...builderCommands, ...composeCommands];
