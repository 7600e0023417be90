import { readFile } from 'node:fs/promises';
import { StepFailure } from '../../events/step.js';
import { CA_SECRETS } from './dockerfile-ca.js';
import { jks } from './jks.js';

/**
 * Secrets of a build whose Dockerfile went through `withHostCa`; null when this server has no certificates of its own.
 * @param file PEM bundle, `config.buildCa`
 * @throws StepFailure (machine) `build.no-ca`
 */
export async function hostCa(file: string | null): Promise<Readonly<Record<string, string | Buffer>> | null> {
  if (file === null) return null;
  const pem = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new StepFailure('build.no-ca', `the certificates for builds cannot be read: ${(error as Error).message}`, 'BERTH_BUILD_CA must name a PEM bundle', 'machine');
  });
  return { [CA_SECRETS.pem]: pem, [CA_SECRETS.jks]: jks(pem) };
}
