require('fs').mkdirSync('dist', { recursive: true });
require('fs').writeFileSync('dist/index.js', `exports.price = (n) => require('ms')(n * 1000 + ${require('is-odd')(3) ? 1000 : 0});`);
