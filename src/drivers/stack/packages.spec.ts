import { describe, expect, it } from 'vitest';
import { contentVersion, installed, releaseDate, undatedShadow } from './packages.js';

const STATUS = `Package: zlib1g
Status: install ok installed
Architecture: amd64
Version: 1:1.3
Description: text
 Version: 9 is not it

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: bash
Status: install ok installed
Version: 5.2
Architecture: amd64
`;

describe('what a stack image holds', () => {
  it('is read from dpkg: what is installed, in one order', () => { expect(installed(STATUS)).toEqual(['bash:amd64 5.2', 'zlib1g:amd64 1:1.3']); });
  it('is its version, together with the definition', () => {
    const version = contentVersion('d', ['a:amd64 1']);
    expect(version).toMatch(/^[0-9a-f]{12}$/);
    expect(contentVersion('d', ['a:amd64 1'])).toBe(version);
    for (const other of [contentVersion('e', ['a:amd64 1']), contentVersion('d', ['a:amd64 2']), contentVersion('d', [])]) expect(other).not.toBe(version);
  });
  it('knows the date of a release, and takes the day of the bootstrap out', () => {
    expect(releaseDate('Origin: Debian\nDate: Sat, 15 Nov 2025 10:00:00 UTC\n')).toBe(Date.UTC(2025, 10, 15, 10) / 1000);
    expect(releaseDate('Origin: Debian\n')).toBeNull();
    expect(undatedShadow('root:*:20780:0:99999:7:::\nbin:!:1::::::\nx::\n', 86_400 * 7)).toBe('root:*:7:0:99999:7:::\nbin:!:7::::::\nx::\n');
  });
});
