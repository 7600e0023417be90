import { Readable } from 'node:stream';
import { IsOptional, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { AppInput } from '../apps/apps.commands.js';
import { shown } from '../apps/app.decider.js';
import { Arg, command, Flag, type DeployAnswer } from '../commands/command.js';
import { requireRoom } from '../server/room.js';
import { deployCommit, sourcesOf } from './deploy-source.js';

class ImageInput extends AppInput {
  @IsOptional() @Flag('do not wait for the end of the deploy') detach?: boolean;
  @IsString() @Arg('the image: its name, and a tag or a digest', { label: 'image' }) image!: string;
}
class FromImageInput extends ImageInput {
  @IsOptional() @Flag('ask the registry, also when the image is on this machine') pull?: boolean;
}

/** The name with its tag. @throws Rejected for what is none */
export function imageName(text: string): string {
  const form = /^(?=.{1,300}$)(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$/;
  if (!form.test(text)) throw new Rejected('image.name', `'${shown(text)}' is not the name of an image`, 'for example: nginx:1.27, registry.example/team/shop:7, shop@sha256:…');
  return /[:@][^/]*$/.test(text) ? text : `${text}:latest`;
}

interface FromImage extends DeployAnswer { readonly image: string }

export const fromImageCommand = command({
  name: 'git:from-image', summary: 'Deploy an image of this machine or of a registry as it is', example: 'berth git:from-image blog nginx:1.27', input: FromImageInput, http: { method: 'POST', path: '/apps/:app/images' },
  run: async (context, { app, image, pull }): Promise<FromImage> => {
    const row = await context.core.app(app);
    const name = imageName(image);
    await requireRoom(context.core);
    const deploy = await deployCommit(context, 'git:from-image', row, { sha: null, branch: null, origin: { type: 'image', image: name, ...(pull && { pull }) } });
    return { app: row.id, name: row.name, deploy, image: name };
  },
  render: ({ name, image }, out) => out.info(`Deploying ${name} from the image ${image}`),
});

export const loadImageCommand = command({
  name: 'git:load-image', summary: 'Deploy an image that is piped in as docker save writes it', example: 'docker save blog:7 | berth git:load-image blog blog:7', input: ImageInput,
  http: { method: 'POST', path: '/apps/:app/loaded-images' }, piped: 'what docker save writes',
  run: async (context, { app, image }): Promise<FromImage> => {
    const { core, signal } = context;
    const row = await core.app(app);
    const name = imageName(image);
    const { images } = sourcesOf(core);
    await requireRoom(core);
    const pieces = context.input();
    const here = (await images.inspectImage(name)) !== null;
    const names = await images.loadImage(Readable.from(pieces), signal);
    if ((await images.inspectImage(name)) === null || (!here && names.length > 0 && !names.includes(name))) {
      throw new Rejected('image.other', `What was piped in holds ${names.map((each) => shown(each)).join(', ') || 'no image'}, not ${name}`, names.length > 0 ? `it is on this machine now: berth git:from-image ${app} ${names[0]!.startsWith('sha256:') ? '<name>' : names[0]!}` : `docker save ${name} | berth git:load-image ${app} ${name}`);
    }
    const deploy = await deployCommit(context, 'git:load-image', row, { sha: null, branch: null, origin: { type: 'image', image: name, loaded: !here } });
    return { app: row.id, name: row.name, deploy, image: name };
  },
  render: ({ name, image }, out) => out.info(`Deploying ${name} from the image ${image}`),
});
