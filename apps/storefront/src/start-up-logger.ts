import { ConsoleLogger } from '@nestjs/common';

/** The context in which Nest logs what it also throws. */
const told: readonly unknown[] = ['ExceptionHandler', 'NestApplication'];

/**
 * Logs warnings and errors as single lines without structured fields. Errors that stop the start-up
 * are left to `main.ts`.
 */
export class StartUpLogger extends ConsoleLogger {
  constructor() {
    super({ logLevels: ['warn', 'error', 'fatal'] });
  }

  override warn(message: unknown, ...rest: unknown[]): void {
    super.warn(lineOf(message), ...rest);
  }

  override error(message: unknown, ...rest: unknown[]): void {
    if (!told.includes(rest.at(-1))) super.error(lineOf(message), ...rest);
  }
}

function lineOf(message: unknown): unknown {
  const { message: line } = (typeof message === 'object' && message !== null ? message : {}) as {
    readonly message?: unknown;
  };
  return typeof line === 'string' && !(message instanceof Error) ? line : message;
}
