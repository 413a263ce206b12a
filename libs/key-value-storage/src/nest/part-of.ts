import type { INestApplicationContext, InjectionToken } from '@nestjs/common';
import { storageError } from '../core/base/errors.js';

/** What an application has under a token, in any module; `INVALID_OPTION` where it has nothing. */
export function partOf(
  app: Pick<INestApplicationContext, 'get'>,
  token: InjectionToken,
  what: string,
  module: string,
): unknown {
  try {
    return app.get(token, { strict: false });
  } catch (cause) {
    const message = `The application has no ${what}: a module must import ${module}.forFeature([…]) with it.`;
    throw storageError('INVALID_OPTION', message, {}, { cause });
  }
}
