import type { Recorded } from '../../events/event.js';
import type { SeenEvent } from '../../plugins/contract/protocol.js';
import { masked } from '../history/mask.js';

/** An event as plugins are shown it. */
export const seenEvent = ({ id, position, stream, type, at, meta, data }: Recorded): SeenEvent => ({ id, position, stream, type, at, actor: meta.actor, data: masked(data) });
