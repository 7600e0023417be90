import { writeFileSync } from 'node:fs';
import ms from 'ms';

writeFileSync('page.html', `<p>embedded: ${ms(7_200_000)}</p>\n`);
