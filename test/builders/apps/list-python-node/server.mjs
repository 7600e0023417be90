import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import ms from 'ms';

createServer((request, response) => {
  const said = execFileSync('python', ['-c', 'import dateutil; print("python has " + dateutil.__name__)'], { encoding: 'utf8' });
  response.end(`${ms(1000)} ${readFileSync('m', 'utf8')} ${said}`);
}).listen(process.env.PORT);
