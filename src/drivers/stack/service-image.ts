import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import tar from 'tar-stream';
import { StepFailure, type StepLog } from '../../events/step.js';
import type { EnginePort } from '../engine/engine.port.js';
import { stackImages } from './stack.js';

/** What a service's image adds to the stack's base. */
export interface Packaged {
  readonly packages: readonly string[];
  /** files that must be there before the packages come: path → text */
  readonly before?: Readonly<Record<string, string>>;
  readonly lines: readonly string[];
  /** `/usr/local/bin/berth-service` */
  readonly script: string | null;
}

const SCRIPT = 'berth-service';

/** Dockerfile of a service's image. Pure. */
export function serviceDockerfile({ packages, before = {}, lines, script }: Packaged, base = stackImages().base): string {
  return [
    `FROM ${base}`,
    // named when it is to be made anew: the packages are fetched again
    'ARG FRESH=',
    ...Object.entries(before).map(([path, text]) => `RUN install -D /dev/null ${path} && echo '${text}' > ${path}`),
    `RUN export DEBIAN_FRONTEND=noninteractive && : "$FRESH" \\\n && apt-get update --error-on=any -q && apt-get upgrade -qy && apt-get install -qy ${packages.join(' ')} && apt-get clean \\\n && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/lib/redis/* /var/lib/mysql /var/lib/rabbitmq/*`,
    ...lines,
    ...(script === null ? [] : [`COPY ${SCRIPT} /usr/local/bin/${SCRIPT}`, `ENTRYPOINT ["/usr/local/bin/${SCRIPT}"]`]),
    '',
  ].join('\n');
}

/** `berth/service-postgres:17-1a2b3c4d`: the same definition gives the same name, whichever server of this machine wants it. */
export function serviceImageName(type: string, version: string, packaged: Packaged): string {
  const digest = createHash('sha256').update(serviceDockerfile(packaged)).update(packaged.script ?? '').digest('hex');
  return `berth/service-${type}:${version}-${digest.slice(0, 8)}`;
}

export interface Making { readonly proxy: Readonly<Record<string, string>>; readonly log: StepLog; readonly signal: AbortSignal; /** null: one that is there will do */ readonly fresh: string | null }

/**
 * Makes the image where it is not there. Answers its id.
 * @throws StepFailure `build.no-stack` and what a build throws; a mirror that does not answer is a machine's fault
 */
export async function ensureServiceImage(engine: EnginePort, name: string, packaged: Packaged, { proxy, log, signal, fresh }: Making): Promise<string> {
  const found = fresh === null ? await engine.inspectImage(name) : null;
  if (found) return found.id;
  const { base } = stackImages();
  if ((await engine.inspectImage(base)) === null) throw new StepFailure('build.no-stack', `the stack image ${base} is not on this machine`, 'make it again: deploy/bootstrap.sh', 'machine');
  log.info(`Making the image ${name} from ${packaged.packages.join(', ')}`);
  const context = tar.pack();
  context.entry({ name: 'Dockerfile' }, serviceDockerfile(packaged));
  if (packaged.script !== null) context.entry({ name: SCRIPT, mode: 0o755 }, packaged.script);
  context.finalize();
  try {
    const built = await engine.build(context as unknown as Readable, {
      dockerfile: 'Dockerfile', tag: name, labels: {}, buildArgs: { ...proxy, ...Object.fromEntries(Object.entries(proxy).map(([each, value]) => [each.toLowerCase(), value])), ...(fresh !== null && { FRESH: fresh }) }, secrets: {}, signal, limits: { memory: 0, cpus: 0, timeoutMs: 25 * 60_000 },
      onLine: (line) => log.output(line),
    });
    return built.id;
  } catch (error) {
    // its Dockerfile is ours, so that what fails is the way to the packages
    if (error instanceof StepFailure && error.fault === 'user') throw new StepFailure(error.code, `the image ${name} could not be made: ${error.message}`, 'can containers reach the Debian mirror? see berth operations:show, and BERTH_DEBIAN_MIRROR', 'machine', { cause: error });
    throw error;
  }
}
