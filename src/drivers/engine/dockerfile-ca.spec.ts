import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CA_ARG, CA_MOUNTS, withHostCa, withoutSyntax } from './dockerfile-ca.js';
import { parseDockerfile } from './dockerfile-lines.js';

const M = CA_MOUNTS;

describe('the host\'s certificates in a Dockerfile', () => {
  it('reaches every stage and every RUN', () => {
    expect(withHostCa('ARG V=1\nFROM a:$V AS x\nRUN make\nFROM scratch\nCOPY --from=x /o /o\nRUN ["/o", "x"]\n'))
      .toBe(`ARG V=1\nFROM a:$V AS x\n${CA_ARG}\nRUN ${M} make\nFROM scratch\n${CA_ARG}\nCOPY --from=x /o /o\nRUN ${M} ["/o", "x"]\n`);
  });

  it('keeps continuation lines, comments inside them and existing mounts', () => {
    const text = 'FROM \\\n  a\nrun --mount=type=cache,target=/c \\\n  # why\n\n  apt-get \\\n  RUN\nUSER nobody\n  RUN\tid';
    expect(withHostCa(text)).toBe(`FROM \\\n  a\n${CA_ARG}\nrun ${M} --mount=type=cache,target=/c \\\n  # why\n\n  apt-get \\\n  RUN\nUSER nobody\n  RUN ${M}\tid`);
  });

  it('leaves heredoc bodies, ONBUILD and comments alone', () => {
    const text = 'FROM a\n# RUN no\nONBUILD RUN no\nRUN <<EOF cat <<-"X"\nRUN no\nFROM no\nEOF\n\tRUN no\n\tX\nCOPY <<a /f\nRUN no\na\nRUN yes <<EOF\n';
    expect(withHostCa(text)).toBe(`FROM a\n${CA_ARG}\n# RUN no\nONBUILD RUN no\nRUN ${M} <<EOF cat <<-"X"\nRUN no\nFROM no\nEOF\n\tRUN no\n\tX\nCOPY <<a /f\nRUN no\na\nRUN ${M} yes <<EOF\n`);
  });

  it('honours the escape directive', () => {
    expect(withHostCa('# escape=`\nFROM a\nRUN dir c:\\\nRUN a `\n RUN b')).toBe(`# escape=\`\nFROM a\n${CA_ARG}\nRUN ${M} dir c:\\\nRUN ${M} a \`\n RUN b`);
  });

  it('strips the syntax line and nothing else', () => {
    expect(withoutSyntax('# syntax=docker/dockerfile:1\n# escape=`\nFROM a\n')).toEqual({ text: '# escape=`\n\nFROM a\n', image: 'docker/dockerfile:1' });
    expect(withoutSyntax('FROM a\n# syntax=docker/dockerfile:1\n')).toBeNull();
  });

  const line = fc.oneof(
    fc.constantFrom('FROM a', 'FROM a AS b \\', 'RUN x', 'RUN x \\', 'RUN cat <<EOF', 'EOF', '# RUN x', '', '  # c', 'ENV A=b', '# escape=`', '# syntax=x', 'x `', 'run\ty', 'ONBUILD RUN z', 'RUN'),
    fc.string({ maxLength: 12 }).map((text) => text.replaceAll('\n', ' ')),
  );
  const dockerfile = fc.array(line, { maxLength: 14 }).map((lines) => lines.join('\n'));

  it('does nothing the second time', () => {
    fc.assert(fc.property(dockerfile, (text) => { expect(withHostCa(withHostCa(text))).toBe(withHostCa(text)); }), { numRuns: 2000 });
  });

  it('adds, and takes nothing away', () => {
    fc.assert(fc.property(dockerfile, (text) => {
      const plain = withHostCa(text).replaceAll(` ${M}`, '').split('\n').filter((at) => at !== CA_ARG).join('\n');
      expect(plain).toBe(text);
    }), { numRuns: 2000 });
  });

  it('leaves a text without FROM and RUN as it is', () => {
    fc.assert(fc.property(fc.array(fc.string({ maxLength: 30 }), { maxLength: 8 }), (lines) => {
      const text = lines.join('\n');
      fc.pre(!parseDockerfile(text).instructions.some(({ keyword }) => keyword === 'RUN' || keyword === 'FROM'));
      expect(withHostCa(text)).toBe(text);
    }));
  });
});
