import { createServer } from 'node:http';

createServer((request, response) => { response.end(`No packages on ${process.version}`); }).listen(process.env.PORT);
