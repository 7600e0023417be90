import { forget } from '../commands/command.js';
import { fromArchiveCommand } from './archive.commands.js';
import { fromImageCommand, loadImageCommand } from './image.commands.js';

export const sourceCommands = [forget(fromArchiveCommand), forget(fromImageCommand), forget(loadImageCommand)];
