import { IsOptional, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { Arg, command, Flag } from '../commands/command.js';
import { lookAtApp, lookAtFolder } from './look.js';

class PlanInput {
  @IsOptional() @IsString() @Arg('the app: the newest commit of its deploy branch, with its settings', { optional: true }) app?: string;
  @IsOptional() @IsString() @Flag('another branch', { type: 'string', label: 'branch' }) branch?: string;
  @IsOptional() @IsString() @Flag('a folder of this machine instead of an app; no server is asked', { type: 'string', label: 'folder' }) dir?: string;
}

/** What a build would do, without building: the plan is data. */
export const planCommand = command({
  name: 'builder:plan', summary: 'Show how an app or a folder would be built, without building it', example: 'berth builder:plan blog', input: PlanInput, http: { method: 'GET', path: '/builder/plan' }, reads: true,
  offline: ({ dir }) => dir !== undefined,
  run: ({ core, signal }, { app, branch, dir }) => {
    if (dir !== undefined) {
      // a server has no business in folders that a client names
      if (core !== undefined) throw new Rejected('folder.here', 'A folder is looked at by the command line itself', 'run berth builder:plan --dir on the machine that has it');
      if (app !== undefined) throw new Rejected('plan.both', 'Either an app or --dir', 'leave one of them out');
      return lookAtFolder(dir, signal);
    }
    if (app === undefined) throw new Rejected('plan.nothing', 'Which app?', 'berth builder:plan <app>, or --dir <folder>');
    return lookAtApp(core, app, branch, signal);
  },
  render: ({ sha, title, reason, asked, details, warnings, plan }, out) => {
    out.info(`${title} (${plan.summary}): ${reason}${sha === null ? '' : `, at ${sha.slice(0, 7)}`}`);
    for (const line of details) out.detail(line);
    for (const { builder, answer } of asked) out.detail(`asked ${builder}: ${answer}`);
    for (const line of warnings) out.warn(line);
    const types = Object.entries(plan.processTypes);
    out.info(types.length === 0 ? 'The buildpacks say how it is started' : 'Process types');
    for (const [type, line] of types) out.detail(`${type}: ${line ?? "the image's own command"}`);
    if (plan.releaseCommand !== null) out.detail(`release: ${plan.releaseCommand}`);
    if (plan.buildArgs.length > 0) out.detail(`the build sees ${plan.buildArgs.join(', ')}`);
    if (plan.dockerfile === null) return;
    out.info('Dockerfile');
    for (const line of plan.dockerfile.trimEnd().split('\n')) out.line(line);
  },
});
