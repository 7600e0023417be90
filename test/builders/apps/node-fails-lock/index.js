const express = require('express');

const app = express();
app.get('/', (request, response) => response.send(`Hello from Express on ${process.version.split('.')[0]}, ${process.env.NODE_ENV}`));
app.get('/env', (request, response) => response.json({ concurrency: Number(process.env.WEB_CONCURRENCY), memory: Number(process.env.MEMORY_AVAILABLE) }));
app.listen(process.env.PORT);
