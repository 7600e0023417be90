import { connect } from 'node:net';
import { StepFailure } from '../../events/step.js';

/**
 * One command to HAProxy's runtime or master socket; answers the whole reply, trimmed.
 * @param timeoutMs milliseconds for connecting and answering together
 * @throws StepFailure `route.router-down` (machine) when nobody answers
 */
export function ask(socket: string, command: string, timeoutMs = 5000): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const down = (why: string, cause?: Error): void => reject(new StepFailure('route.router-down', `the router does not answer on ${socket}: ${why}`, 'Look at the HAProxy unit: is it running?', 'machine', { cause }));
    // half-closed after the command: the master's socket would otherwise wait for more
    const connection = connect(socket, () => connection.end(`${command}\n`));
    connection.setTimeout(timeoutMs, () => { down(`no answer to "${command.split(' ', 2).join(' ')}" in ${timeoutMs} ms`); connection.destroy(); });
    connection.on('data', (chunk: Buffer) => chunks.push(chunk));
    connection.on('error', (error) => down(error.message, error));
    connection.on('close', () => resolve(Buffer.concat(chunks).toString('utf8').trim()));
  });
}
