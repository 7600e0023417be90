import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import tar from 'tar-stream';
import { StepFailure, type StepLog } from '../../events/step.js';
import { withHostCa } from '../engine/dockerfile-ca.js';
import type { EnginePort } from '../engine/engine.port.js';
import { hostCa } from '../engine/host-ca.js';
import { stackImages } from './stack.js';

/** A Go module in one version, and the program in it that is wanted. */
export interface Compiled { readonly module: string; readonly version: string; readonly sum: string; readonly path: string; readonly says: string }

/** What a service's image adds to the stack's base. */
export interface Packaged {
  readonly program?: Compiled;
  readonly packages: readonly string[];
  /** files that must be there before the packages come: path → text */
  readonly before?: Readonly<Record<string, string>>;
  readonly lines: readonly string[];
  /** `/usr/local/bin/berth-service` */
  readonly script: string | null;
}

const SCRIPT = 'berth-service';
const STAGE = 'program';
/** the distribution's own fetches it from the module proxy; one version, so that the same program comes out everywhere */
const TOOLCHAIN = 'go1.26.11';
const GO_PACKAGE = 'golang-go';

/** What is fetched is compared with the checksum before anything of it runs; everything else that it needs is in its go.sum. */
function compiling({ module, version, sum, path, says }: Compiled, base: string): string[] {
  const name = path.split('/').at(-1)!;
  return [
    `FROM ${base} AS ${STAGE}`,
    `RUN export DEBIAN_FRONTEND=noninteractive && apt-get update --error-on=any -q && apt-get install -qy ${GO_PACKAGE} && apt-get clean && rm -rf /var/lib/apt/lists/*`,
    // named where the machine has another way to modules than Go's own
    'ARG GOPROXY=https://proxy.golang.org,direct',
    `RUN export HOME=/root GOTOOLCHAIN=${TOOLCHAIN} CGO_ENABLED=0 GOFLAGS=-mod=readonly && cd /root \\\n && { go mod download -json ${module}@${version} > module || { cat module; exit 1; }; } \\\n && { grep -qF '"Sum": "${sum}"' module || { echo 'the module proxy has another ${module}@${version} than the one that is known: its checksum is not ${sum}'; exit 1; }; } \\\n && cd "$(sed -n 's/^.*"Dir": "\\(.*\\)".*$/\\1/p' module)" && go build -buildvcs=false -trimpath -ldflags '-s -w -X ${says}=${version}' -o /usr/local/bin/${name} ${path}`,
  ];
}

/** Dockerfile of a service's image. Pure. */
export function serviceDockerfile({ program, packages, before = {}, lines, script }: Packaged, base = stackImages().base): string {
  return [
    ...(program ? compiling(program, base) : []),
    `FROM ${base}`,
    // named when it is to be made anew: the packages are fetched again
    'ARG FRESH=',
    ...Object.entries(before).map(([path, text]) => `RUN install -D /dev/null ${path} && echo '${text}' > ${path}`),
    `RUN export DEBIAN_FRONTEND=noninteractive && : "$FRESH" \\\n && apt-get update --error-on=any -q && apt-get upgrade -qy && apt-get install -qy ${packages.join(' ')} && apt-get clean \\\n && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/lib/redis/* /var/lib/mysql /var/lib/rabbitmq/*`,
    ...(program ? [`COPY --from=${STAGE} /usr/local/bin/${program.path.split('/').at(-1)!} /usr/local/bin/`] : []),
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

export interface Making {
  readonly config: { readonly buildProxy: Readonly<Record<string, string>>; readonly buildCa: string | null; readonly goProxy: string | null };
  readonly log: StepLog; readonly signal: AbortSignal;
  /** null: one that is there will do */
  readonly fresh: string | null;
  /** the plugin that has said what is in it; absent: we have */
  readonly plugin?: string;
}

/**
 * Makes the image where it is not there. Answers its id.
 * @throws StepFailure `build.no-stack` and what a build throws; a mirror that does not answer is a machine's fault
 */
export async function ensureServiceImage(engine: EnginePort, name: string, packaged: Packaged, { config, log, signal, fresh, plugin }: Making): Promise<string> {
  const found = fresh === null ? await engine.inspectImage(name) : null;
  if (found) return found.id;
  const { base } = stackImages();
  if ((await engine.inspectImage(base)) === null) throw new StepFailure('build.no-stack', `the stack image ${base} is not on this machine`, 'make it again: deploy/bootstrap.sh', 'machine');
  const { program } = packaged;
  log.info(`Making the image ${name} from ${[...(program ? [`${program.module} ${program.version}, which is compiled here,`] : []), ...packaged.packages].join(', ')}`);
  // modules come by HTTPS; packages do not, and an engine without BuildKit takes no secrets
  const ca = program ? await hostCa(config.buildCa) : null;
  const dockerfile = serviceDockerfile(packaged);
  const context = tar.pack();
  context.entry({ name: 'Dockerfile' }, ca === null ? dockerfile : withHostCa(dockerfile));
  if (packaged.script !== null) context.entry({ name: SCRIPT, mode: 0o755 }, packaged.script);
  context.finalize();
  const proxy = Object.fromEntries(Object.entries(config.buildProxy).flatMap(([each, value]) => [[each, value], [each.toLowerCase(), value]]));
  try {
    const built = await engine.build(context as unknown as Readable, {
      dockerfile: 'Dockerfile', tag: name, labels: { made: 'service' }, buildArgs: { ...proxy, ...(program && config.goProxy !== null && { GOPROXY: config.goProxy }), ...(fresh !== null && { FRESH: fresh }) }, secrets: { ...ca }, signal, limits: { memory: 0, cpus: 0, timeoutMs: 25 * 60_000 },
      onLine: (line) => log.output(line),
    });
    return built.id;
  } catch (error) {
    if (plugin !== undefined && error instanceof StepFailure && error.fault === 'user') throw new StepFailure(error.code, `the image ${name}, as plugin ${plugin} says it is made, could not be made: ${error.message}`, `a fault of the plugin, or of the way to the Debian mirror: berth plugin:info ${plugin}`, 'user', { cause: error });
    // its Dockerfile is ours, so that what fails is the way to the packages
    if (error instanceof StepFailure && error.fault === 'user') throw new StepFailure(error.code, `the image ${name} could not be made: ${error.message}`, `can containers reach the Debian mirror${program ? ' and the Go module proxy' : ''}? see berth operations:show, and BERTH_DEBIAN_MIRROR${program ? ', BERTH_GO_PROXY, BERTH_BUILD_CA; docs/air-gapped.md tells how to bring the image from another server' : ''}`, 'machine', { cause: error });
    throw error;
  }
}
