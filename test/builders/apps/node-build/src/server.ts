import { createServer } from 'node:http';
import { existsSync } from 'node:fs';
import ms from 'ms';

createServer((request, response) => { response.end(`Compiled; 2 days are ${ms('2 days')} ms; prepared: ${existsSync('prepared.txt')}`); }).listen(process.env['PORT']);
