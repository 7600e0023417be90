import { plainToInstance } from 'class-transformer';
import { validate, type ValidationError } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import type { AnyCommand } from './command.js';

function messages(errors: readonly ValidationError[]): string[] {
  return errors.flatMap((error) => [...Object.values(error.constraints ?? {}), ...messages(error.children ?? [])]);
}

/** Input of a command as its class says it must be. @throws Rejected with every constraint that does not hold */
export async function validated(command: AnyCommand, plain: Record<string, unknown>): Promise<object> {
  const input = plainToInstance(command.input, plain);
  const errors = await validate(input, { whitelist: true, forbidNonWhitelisted: true, forbidUnknownValues: false });
  if (errors.length > 0) throw new Rejected('input.invalid', messages(errors).join('; '), `see: berth help ${command.name}`);
  return input;
}
