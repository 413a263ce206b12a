import { ConsoleLogger } from '@nestjs/common';

/** The contexts in which Nest logs an error that it also throws. */
const contextsOfThrownErrors: readonly unknown[] = ['ExceptionHandler', 'NestApplication'];

/**
 * Logs warnings and errors as single lines without structured fields. `main.ts` prints the errors
 * that stop the start-up.
 */
export class StartUpLogger extends ConsoleLogger {
  constructor() {
    super({ logLevels: ['warn', 'error', 'fatal'] });
  }

  override warn(message: unknown, ...rest: unknown[]): void {
    super.warn(lineOf(message), ...rest);
  }

  override error(message: unknown, ...rest: unknown[]): void {
    if (!contextsOfThrownErrors.includes(rest.at(-1))) super.error(lineOf(message), ...rest);
  }
}

function lineOf(message: unknown): unknown {
  const { message: line } = (typeof message === 'object' && message !== null ? message : {}) as {
    readonly message?: unknown;
  };
  return typeof line === 'string' && !(message instanceof Error) ? line : message;
}
