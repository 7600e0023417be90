const Koa = require('koa');

const app = new Koa();
app.use((context) => { context.body = { koa: true, ...require('./built.json') }; });
app.listen(process.env.PORT);
