/** A certificate that the running router has loaded. */
export interface Certificate {
  /** as the router names it: its file */
  readonly file: string;
  readonly subject: string;
  /** host names it is good for */
  readonly names: readonly string[];
  /** ms since the epoch */
  readonly notAfter: number;
  /** a frontend uses it */
  readonly used: boolean;
}

/** Reads them over the runtime socket, HAProxy 2.2 and newer. */
export async function certificatesOf(ask: (command: string) => Promise<string>): Promise<Certificate[]> {
  const list = await ask('show ssl cert');
  // `*file` is one that somebody is about to change
  const files = list.split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#') && !line.startsWith('*') && !/^Unknown command/i.test(line));
  const found: Certificate[] = [];
  for (const file of files) {
    const certificate = parseCertificate(await ask(`show ssl cert ${file}`));
    if (certificate) found.push(certificate);
  }
  return found;
}

/** Takes the answer to `show ssl cert <file>` apart; null when it holds no certificate. */
export function parseCertificate(text: string): Certificate | null {
  const value = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(text)?.[1]?.trim() ?? '';
  const notAfter = Date.parse(value('notAfter'));
  if (Number.isNaN(notAfter)) return null;
  return {
    file: value('Filename'), subject: value('Subject'), names: value('Subject Alternative Name').split(',').map((name) => name.trim().replace(/^DNS:/, '')).filter(Boolean),
    notAfter, used: value('Status') === 'Used',
  };
}
