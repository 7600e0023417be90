import type { EnginePort, Image } from '../../drivers/engine/engine.port.js';
import { readLabels } from '../../drivers/engine/labels.js';
import { size } from '../../drivers/engine/units.js';
import { Readable } from 'node:stream';
import tar from 'tar-stream';
import type { BuildOutput } from '../../events/types/deploy.events.js';
import { type StepContext, StepFailure } from '../../events/step.js';

/** `nginx:1.27` and `nginx@sha256:…` → `nginx` */
const repositoryOf = (reference: string): string => reference.replace(/@.*$/, '').replace(/:[^:/]+$/, '');

function digestOf({ digests = [] }: Image, reference: string): string | null {
  const repository = repositoryOf(reference);
  const named = digests.map((each) => each.split('@')).find(([name = '']) => name === repository || name.endsWith(`/${repository}`)) ?? [];
  return named[1] ?? null;
}

/** Takes an image as it is: no instruction is carried out, it only gets our labels. */
export async function takeImage(engine: EnginePort, instance: string, context: StepContext<'build'>): Promise<BuildOutput> {
  const { input, log, signal } = context;
  const { reference, pull, loaded } = input.plan.image!;
  const tag = `${instance}/${input.name}:${context.deploy}`;
  const before = await engine.inspectImage(reference);
  const mine = await engine.inspectImage(tag);
  const taken = mine !== null && readLabels(mine.labels).job === context.job ? mine : null;
  if (taken === null && (before === null || pull)) {
    if (loaded && !pull) throw new StepFailure('image.gone', `the image ${reference} that was piped in is not on this machine any more`, `pipe it in again: docker save ${reference} | berth git:load-image ${input.name} ${reference}`);
    log.info(`Pulling ${reference}`);
    await engine.pullImage(reference, signal, (line) => log.output(line));
  }
  const source = before !== null && !pull ? before : ((await engine.inspectImage(reference)) ?? taken);
  if (source === null) throw new StepFailure('image.gone', `the image ${reference} is gone right after it came`, 'something else removes images on this machine', 'machine');
  const digest = digestOf(source, reference);
  log.info(`Taking the image ${reference}`);
  log.detail(`${digest ?? source.id}, ${size(source.bytes)}${before !== null && !pull ? ', on this machine already' : ''}`);
  const web = input.plan.processTypes['web'] ?? null;
  if (web === null && source.cmd === null && source.entrypoint === null) {
    throw new StepFailure('image.no-command', `the image ${reference} has no CMD and no ENTRYPOINT`, `say what web runs: berth builder:set ${input.name} process.web "<command>"`);
  }
  if ((source.onBuild ?? []).length > 0) {
    throw new StepFailure('image.onbuild', `the image ${reference} is made to be built upon: it has ONBUILD ${source.onBuild![0]}`, `push a Dockerfile that begins with FROM ${reference}`);
  }
  const image = taken ?? await labelled(engine, instance, source, tag, context);
  log.detail(image.exposed.length > 0 ? `EXPOSE ${image.exposed.join(' ')}` : `no EXPOSE: the app is expected on $PORT (${input.plan.port})`);
  // what came for this deploy only goes; what somebody had here stays
  const tidy = async (): Promise<void> => { if (loaded || before === null) await engine.removeImage(reference); };
  if (context.after) context.after(tidy, tidy);
  else await tidy();
  return { image: tag, imageId: image.id, bytes: image.bytes, exposed: image.exposed, processTypes: input.plan.processTypes, releaseCommand: null, from: { reference, digest } };
}

/** The same image under a name and with labels of ours, so that it is kept and removed as every other release's. */
async function labelled(engine: EnginePort, instance: string, source: Image, tag: string, { input, deploy, attempt, job, signal, log }: StepContext<'build'>): Promise<Image> {
  await engine.tagImage(source.id, tag);
  const pack = tar.pack();
  pack.entry({ name: 'Dockerfile' }, `FROM ${tag}\n`);
  pack.finalize();
  return engine.build(pack as unknown as Readable, {
    dockerfile: 'Dockerfile', tag, signal, limits: input.limits, buildArgs: {}, secrets: {}, labels: { instance, app: input.app, deploy, attempt, job, source: source.id.replace('sha256:', '') }, onLine: (line) => log.output(line),
  });
}
