import { forget } from '../commands/command.js';
import { accessCommands } from './access.commands.js';
import { fromArchiveCommand } from './archive.commands.js';
import { fromImageCommand, loadImageCommand } from './image.commands.js';
import { syncCommand } from './sync.commands.js';

export const sourceCommands = [forget(fromArchiveCommand), forget(fromImageCommand), forget(loadImageCommand), forget(syncCommand), ...accessCommands];
