import { createHash } from 'node:crypto';

/** What is installed, from the text of `/var/lib/dpkg/status`: `curl:amd64 8.14.1-2`, sorted. */
export function installed(status: string): string[] {
  return status.split(/\n{2,}/).flatMap((stanza) => {
    const field = (name: string): string => new RegExp(`^${name}: *(.*)$`, 'm').exec(stanza)?.[1]?.trim() ?? '';
    return field('Status').endsWith(' installed') ? [`${field('Package')}:${field('Architecture')} ${field('Version')}`] : [];
  }).sort();
}

/** What a stack image's version is: the same definition with the same packages in the same versions has the same, on every machine. 12 hex digits. */
export function contentVersion(definition: string, packages: readonly string[]): string {
  return createHash('sha256').update([definition, ...packages].join('\n')).digest('hex').slice(0, 12);
}

/** Seconds since the epoch of the `Date` field of a Debian Release file, or null when it has none. */
export function releaseDate(release: string): number | null {
  const at = Date.parse(/^Date: *(.+)$/m.exec(release)?.[1] ?? '');
  return Number.isNaN(at) ? null : Math.floor(at / 1000);
}

/** `/etc/shadow` whose passwords were last changed on one day: the day on which a system was bootstrapped says nothing. */
export function undatedShadow(shadow: string, seconds: number): string {
  return shadow.replace(/^([^:\n]+:[^:\n]*:)\d+(:)/gm, (_, before: string, after: string) => `${before}${Math.floor(seconds / 86_400)}${after}`);
}
