import type { ChannelOption } from '../../events/types/plugin.events.js';
import type { Message } from '../../plugins/contract/protocol.js';
import { email } from './channels/email.js';
import { ntfy } from './channels/ntfy.js';
import { slack } from './channels/slack.js';
import { telegram } from './channels/telegram.js';

/** One message on its way. `options`: secrets among them. */
export interface Posting {
  readonly options: Readonly<Record<string, string>>;
  readonly message: Message;
  /** the same for every try */
  readonly id: string;
  /** the server, for people */
  readonly host: string;
  /** private addresses may be called */
  readonly anywhere: boolean;
  readonly signal: AbortSignal;
}
/** A way to tell people something that comes with Berth. */
export interface Channel {
  readonly name: string;
  readonly title: string;
  readonly options: readonly ChannelOption[];
  /** What is wrong with the options; null: nothing that can be seen. */
  check(options: Readonly<Record<string, string>>): string | null;
  /** Who would be called: the host as it is written. */
  host(options: Readonly<Record<string, string>>): string;
  /** Answers what the other side said. @throws StepFailure */
  send(posting: Posting): Promise<string>;
}

export const CHANNELS: readonly Channel[] = [email, ntfy, slack, telegram];
