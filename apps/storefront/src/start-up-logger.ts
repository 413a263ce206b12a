import { ConsoleLogger } from '@nestjs/common';

/** Where Nest tells, with a stack, what it throws as well. */
const told: readonly unknown[] = ['ExceptionHandler', 'NestApplication'];

/** Warnings and errors; but what stops the start-up is left to `main.ts`, which says it in one line. */
export class StartUpLogger extends ConsoleLogger {
  constructor() {
    super({ logLevels: ['warn', 'error', 'fatal'] });
  }

  override error(message: unknown, ...rest: unknown[]): void {
    if (!told.includes(rest.at(-1))) super.error(message, ...rest);
  }
}
