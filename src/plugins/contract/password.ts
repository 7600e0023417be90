import { createHmac, randomBytes } from 'node:crypto';

/**
 * `<salt, base64>|<HMAC-SHA-256 of the password under the salt, upper-case hex>`: fast, for the router checks it with every request and must not
 * be held up; so whoever has it can guess fast, and it is kept as a secret.
 */
export function passwordHash(password: string, salt: Buffer = randomBytes(16)): string {
  return `${salt.toString('base64')}|${createHmac('sha256', salt).update(password).digest('hex').toUpperCase()}`;
}
