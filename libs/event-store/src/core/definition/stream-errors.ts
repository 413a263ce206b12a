/**
 * The codes that streams add to the one map of errors: status, title, and whether the same call may
 * succeed later. A `conflict` is what retry loops repeat.
 */
import { StorageError, type StorageErrorDetails } from '@kvent/key-value-storage/core';
import type { ErrorKind, StorageErrorInit } from '@kvent/key-value-storage/internal';
import type { ExpectedVersion } from './event-stream.js';

interface StreamErrorDetails {
  STREAM_NOT_FOUND: { readonly stream: string };
  STREAM_DELETED: { readonly stream: string };
  STREAM_VERSION_NOT_FOUND: { readonly stream: string; readonly version: number };
  /**
   * `check`: 'caller' where the failed check was `ifMatch`, which is a 412 over HTTP. Checks that
   * the caller gave are never retried.
   */
  STREAM_VERSION_MISMATCH: {
    readonly stream: string;
    readonly expected: ExpectedVersion | readonly number[];
    readonly actual: number;
    readonly check: 'caller' | 'own';
  };
  /** `until`: when the lock ends, unless it is renewed. */
  STREAM_LOCKED: { readonly stream: string; readonly until: Date };
  SESSION_OPEN_FAILED: {
    readonly stream: string;
    readonly openTimeoutMs: number;
    readonly until: Date | undefined;
  };
  SESSION_NOT_OPEN: { readonly stream: string };
  SESSION_EXPIRED: { readonly stream: string; readonly expiredAt: Date };
  SESSION_LOST: { readonly stream: string };
  SNAPSHOT_NOT_FOUND: { readonly stream: string; readonly version: number };
  IDEMPOTENCY_KEY_NOT_FOUND: { readonly stream: string; readonly idempotencyKey: string };
  EVENT_UNKNOWN_TYPE: { readonly stream: string; readonly version: number; readonly type: string };
  /**
   * `type`: left undefined where it cannot be read either. `version`: 0 where `initial` has thrown.
   */
  EVENT_UNREADABLE: { readonly stream: string; readonly version: number; readonly type: string | undefined };
}

declare module '@kvent/key-value-storage/core' {
  // eslint-disable-next-line @typescript-eslint/no-empty-object-type -- merging needs an interface
  interface StorageErrorDetails extends StreamErrorDetails {}
}

export type StreamErrorCode = keyof StreamErrorDetails;

const kinds = {
  STREAM_NOT_FOUND: { status: 404, title: 'There is no such stream', retryable: false },
  STREAM_DELETED: { status: 410, title: 'The stream was deleted', retryable: false },
  STREAM_VERSION_NOT_FOUND: { status: 404, title: 'The stream is not that long', retryable: false },
  STREAM_VERSION_MISMATCH: {
    status: 409,
    title: 'The stream is at another version',
    retryable: true,
    conflict: true,
  },
  STREAM_LOCKED: { status: 423, title: 'A session holds the stream', retryable: true },
  SESSION_OPEN_FAILED: { status: 423, title: 'Another session holds the stream', retryable: true },
  SESSION_NOT_OPEN: { status: 409, title: 'The session is not open', retryable: false },
  SESSION_EXPIRED: { status: 409, title: 'The session has expired', retryable: false },
  SESSION_LOST: { status: 409, title: 'The stream belongs to somebody else by now', retryable: false },
  SNAPSHOT_NOT_FOUND: { status: 404, title: 'There is no such snapshot', retryable: false },
  IDEMPOTENCY_KEY_NOT_FOUND: { status: 404, title: 'The idempotency key is not known', retryable: false },
  EVENT_UNKNOWN_TYPE: {
    status: 500,
    title: 'An event has a type that this program does not know',
    retryable: false,
  },
  EVENT_UNREADABLE: { status: 500, title: 'An event cannot be read back', retryable: false },
} as const satisfies Record<StreamErrorCode, ErrorKind>;

/**
 * Makes an error of the table. `message`: subject, what is, what was expected; ids yes, data never.
 */
export function streamError<Code extends StreamErrorCode>(
  code: Code,
  message: string,
  details: StorageErrorDetails[Code],
  init: StorageErrorInit = {},
): StorageError<Code> & StorageErrorDetails[Code] {
  return new StorageError(code, message, kinds[code], details, init) as StorageError<Code> &
    StorageErrorDetails[Code];
}

/** Code, HTTP status, title and whether it is retryable, for the reference page and its test. */
export const streamErrorTable: readonly ({ readonly code: StreamErrorCode } & ErrorKind)[] = Object.entries(
  kinds,
).map(([code, kind]) => ({
  code: code as StreamErrorCode,
  ...kind,
}));
