import { parseDockerfile } from './dockerfile-lines.js';

/**
 * Lets a build trust the host's certificates without changing its image: programs find the bundle through build arguments,
 * which live in RUN only, and the bundle itself is mounted as a secret. Works for any distribution.
 */
const PEM = '/run/berth/ca.pem';
const JKS = '/run/berth/ca.jks';
const VARIABLES = ['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS', 'PIP_CERT', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'GIT_SSL_CAINFO', 'CARGO_HTTP_CAINFO', 'AWS_CA_BUNDLE'];

/** ids of the build's secrets */
export const CA_SECRETS = { pem: 'berth_ca', jks: 'berth_jks' } as const;

export const CA_ARG = `ARG ${VARIABLES.map((name) => `${name}=${PEM}`).join(' ')} JAVA_TOOL_OPTIONS="-Djavax.net.ssl.trustStore=${JKS} -Djavax.net.ssl.trustStorePassword=changeit"`;
// mode: RUN under USER must be able to read it; the default is root only
const secret = (id: string, target: string): string => `--mount=type=secret,id=${id},target=${target},mode=0444`;
export const CA_MOUNTS = `${secret(CA_SECRETS.pem, PEM)} ${secret(CA_SECRETS.jks, JKS)}`;

/** Adds the argument line after each FROM and the mounts after each RUN keyword. Twice is the same as once. */
export function withHostCa(text: string): string {
  const { lines, instructions } = parseDockerfile(text);
  const made = [...lines];
  // from the end, so that line numbers stay right
  for (const { keyword, first, last, open, keywordEnd } of instructions.toReversed()) {
    const line = lines[first] ?? '';
    if (keyword === 'RUN' && !line.startsWith(` ${CA_MOUNTS}`, keywordEnd)) {
      made[first] = `${line.slice(0, keywordEnd)} ${CA_MOUNTS}${line.slice(keywordEnd)}`;
    } else if (keyword === 'FROM' && !open && (lines[last + 1] ?? '').replace(/\r$/, '') !== CA_ARG) {
      made.splice(last + 1, 0, CA_ARG);
    }
  }
  return made.join('\n');
}

/**
 * Takes the `# syntax=` line out: BuildKit fetches that image from a registry even when it would not need it. An empty line
 * takes its place below the directives, so that the builder's line numbers stay right.
 * @returns null when there is none
 */
export function withoutSyntax(text: string): { readonly text: string; readonly image: string } | null {
  const { lines, syntax, body } = parseDockerfile(text);
  if (syntax === null) return null;
  const image = (lines[syntax] ?? '').replace(/^[^=]*=\s*/, '').trim();
  const made = [...lines];
  made.splice(body, 0, '');
  made.splice(syntax, 1);
  return { text: made.join('\n'), image };
}
