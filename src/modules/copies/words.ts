import type { CopyPlace, Count } from '../../events/types/copy.events.js';
import { bytes } from '../commands/words.js';

/** `12 files, 4.0 KiB` */
export const words = (count: Count): string => Object.entries(count).map(([name, n]) => (name === 'bytes' ? bytes(n) : `${n} ${name}`)).join(', ');

/** `/var/backups/db`, `s3://bucket/prefix` */
export const placeName = (place: CopyPlace): string => (place.type === 'folder' ? place.path : `s3://${place.bucket}/${place.prefix}`.replace(/\/$/, ''));
