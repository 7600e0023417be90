import isOdd from 'is-odd';

await Bun.write('built.txt', `built by bun: ${isOdd(7) as boolean}`);
