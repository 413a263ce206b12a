import { ConsoleLogger } from '@nestjs/common';

/** Where Nest tells, with a stack, what it throws as well. */
const told: readonly unknown[] = ['ExceptionHandler', 'NestApplication'];

/**
 * Warnings and errors, for people: a line each, without the fields that machines read. But what
 * stops the start-up is left to `main.ts`, which says it in one line.
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
