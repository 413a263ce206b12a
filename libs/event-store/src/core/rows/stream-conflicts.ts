/** The errors of a stream that is not in the state that a call expects. */
import type { Row } from '@kvent/key-value-storage/provider';
import type { Expectation } from './expectations.js';
import { streamError } from '../definition/stream-errors.js';
import type { StreamRows } from './stream-rows.js';

/** `STREAM_VERSION_MISMATCH`: retryable unless the caller gave the version that does not match. */
export function mismatchError(rows: StreamRows, { expected, by }: Expectation, actual: number) {
  const message = `The ${rows.name} is at version ${actual}; expected ${wordsFor(expected)}.`;
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
  const message = `A session holds the ${rows.name} until ${until.toISOString()}.`;
  return streamError('STREAM_LOCKED', message, { stream: rows.path, until });
}

export const deletedError = (rows: StreamRows) =>
  streamError('STREAM_DELETED', `The ${rows.name} was deleted; its id cannot be used again.`, {
    stream: rows.path,
  });

export const notFoundError = (rows: StreamRows) =>
  streamError('STREAM_NOT_FOUND', `There is no ${rows.name}.`, { stream: rows.path });
