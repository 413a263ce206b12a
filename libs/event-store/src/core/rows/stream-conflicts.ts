/** What a conflict at a stream was, as errors: the one place where it becomes one. */
import type { Row } from '@kvent/key-value-storage/provider';
import type { Expectation } from './expectations.js';
import { streamError } from '../definition/stream-errors.js';
import type { StreamRows } from './stream-rows.js';

/**
 * `STREAM_VERSION_MISMATCH`. A check that the caller gave is never retried; what was loaded is
 * retried with the reading.
 */
export function mismatchError(rows: StreamRows, { expected, by }: Expectation, actual: number) {
  const message = `The ${rows.name} is at version ${actual}; expected was ${wordsFor(expected)}.`;
  const check = by === 'etag' ? 'caller' : 'own';
  const retryable = by === 'loaded' || expected === 'any' || (expected === 'present' && actual > 0);
  return streamError(
    'STREAM_VERSION_MISMATCH',
    message,
    { stream: rows.path, expected, actual, check },
    { retryable },
  );
}

const wordsFor = (expected: Expectation['expected']): string | number => {
  if (typeof expected !== 'object') return expected;
  return expected.length === 0 ? 'the etag of another stream' : `one of ${expected.length} etags`;
};

export function lockedError(rows: StreamRows, lease: Row) {
  const until = new Date(lease.expiresAt ?? 0);
  const message = `A session holds the ${rows.name} until ${until.toISOString()}; only it appends.`;
  return streamError('STREAM_LOCKED', message, { stream: rows.path, until });
}

export const deletedError = (rows: StreamRows) =>
  streamError('STREAM_DELETED', `The ${rows.name} was deleted; its versions never restart.`, {
    stream: rows.path,
  });

export const notFoundError = (rows: StreamRows) =>
  streamError('STREAM_NOT_FOUND', `There is no ${rows.name}.`, { stream: rows.path });
