/** Checks of the limits: `LIMIT_EXCEEDED` with the given and the allowed value. */
import { storageError } from './errors.js';
import { limits, type LimitName } from './limits.js';
import { utf8Length } from './utf8-length.js';

/** Refuses an encoded text of more UTF-8 bytes than the limit allows. */
export function assertWithin(limit: LimitName, encoded: string, what: string | (() => string)): void {
  if (encoded.length * 3 <= limits[limit]) return;
  const bytes = utf8Length(encoded);
  if (bytes <= limits[limit]) return;
  const subject = typeof what === 'string' ? what : what();
  throw exceeded(limit, bytes, `A ${subject} of ${bytes} encoded bytes is`);
}

/** Refuses a count over the limit. */
export function assertAtMost(limit: LimitName, count: number, what: string): void {
  if (count > limits[limit]) throw exceeded(limit, count, `${count} ${what} are`);
}

function exceeded(limit: LimitName, given: number, subject: string): Error {
  const allowed = limits[limit];
  const message = `${subject} over the limit ${limit} of ${allowed}.`;
  return storageError('LIMIT_EXCEEDED', message, { limit, given, allowed });
}
