import { forget } from '../commands/command.js';
import { fromArchiveCommand } from './archive.commands.js';

export const sourceCommands = [forget(fromArchiveCommand)];
