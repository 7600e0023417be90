import { mkdirSync, writeFileSync } from 'node:fs';
import isOdd from 'is-odd';
import ms from 'ms';

mkdirSync('assets/dist', { recursive: true });
writeFileSync('assets/dist/app.js', `console.log("built by node for ${process.env.SHOP_NAME}: ${ms(3_600_000)} ${isOdd(3)}");\n`);
