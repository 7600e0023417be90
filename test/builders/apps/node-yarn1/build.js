require('fs').writeFileSync('built.json', JSON.stringify({ odd: require('is-odd')(3), env: process.env.NODE_ENV }));
