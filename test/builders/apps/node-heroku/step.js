const { appendFileSync, existsSync } = require('fs');
appendFileSync('steps.txt', `${process.argv[2]}:${existsSync('node_modules/ms') ? 'ms' : '-'}:${existsSync('node_modules/is-odd') ? 'odd' : '-'} `);
