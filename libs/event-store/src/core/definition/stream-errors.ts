/**
 * The error codes of streams: HTTP status, title, and whether the same call may succeed later.
 * Retry loops repeat errors with `conflict`.
 */
import { StorageError, type StorageErrorDetails } from '@kvent/key-value-storage/core';
import type { ErrorKind, StorageErrorInit } from '@kvent/key-value-storage/internal';
import type { ExpectedVersion } from './event-stream.js';

interface StreamErrorDetails {
  STREAM_NOT_FOUND: { readonly stream: string };
  STREAM_DELETED: { readonly stream: string };
  STREAM_VERSION_NOT_FOUND: { readonly stream: string; readonly version: number };
  /** `check`: 'caller' when `ifMatch` failed, which is a 412 over HTTP. */
  STREAM_VERSION_MISMATCH: {
    readonly stream: string;
    readonly expected: ExpectedVersion | readonly number[];
    readonly actual: number;
    readonly check: 'caller' | 'own';
  };
  /** `until`: when the lock expires, unless it is renewed. */
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
  /** `type`: undefined when it cannot be read either. `version`: 0 when `initial` has thrown. */
  EVENT_UNREADABLE: { readonly stream: string; readonly version: number; readonly type: string | undefined };
  /** `tenant`: undefined for shared streams. */
  PROJECTION_STOPPED: { readonly projection: string; readonly tenant: string | undefined };
  PROJECTION_BEHIND: { readonly projection: string; readonly position: string };
  REACTION_STOPPED: { readonly reaction: string; readonly tenant: string | undefined };
  REACTION_BEHIND: { readonly reaction: string; readonly position: string };
  INVALID_POSITION: object;
}

declare module '@kvent/key-value-storage/core' {
  // oxlint-disable-next-line typescript/no-empty-object-type -- merging needs an interface
  interface StorageErrorDetails extends StreamErrorDetails {}
}

export type StreamErrorCode = keyof StreamErrorDetails;

const kinds = {
  STREAM_NOT_FOUND: { status: 404, title: 'Stream not found', retryable: false },
  STREAM_DELETED: { status: 410, title: 'Stream deleted', retryable: false },
  STREAM_VERSION_NOT_FOUND: { status: 404, title: 'Stream version not found', retryable: false },
  STREAM_VERSION_MISMATCH: {
    status: 409,
    title: 'Stream version mismatch',
    retryable: true,
    conflict: true,
  },
  STREAM_LOCKED: { status: 423, title: 'Stream locked by a session', retryable: true },
  SESSION_OPEN_FAILED: { status: 423, title: 'Stream held by another session', retryable: true },
  SESSION_NOT_OPEN: { status: 409, title: 'Session not open', retryable: false },
  SESSION_EXPIRED: { status: 409, title: 'Session expired', retryable: false },
  SESSION_LOST: { status: 409, title: 'Session lost to another writer', retryable: false },
  SNAPSHOT_NOT_FOUND: { status: 404, title: 'Snapshot not found', retryable: false },
  IDEMPOTENCY_KEY_NOT_FOUND: { status: 404, title: 'Idempotency key not found', retryable: false },
  EVENT_UNKNOWN_TYPE: {
    status: 500,
    title: 'Unknown event type',
    retryable: false,
  },
  EVENT_UNREADABLE: { status: 500, title: 'Unreadable event', retryable: false },
  PROJECTION_STOPPED: { status: 500, title: 'Projection stopped at an event', retryable: false },
  PROJECTION_BEHIND: { status: 503, title: 'Projection not caught up in time', retryable: true },
  REACTION_STOPPED: { status: 500, title: 'Reaction stopped at an event', retryable: false },
  REACTION_BEHIND: { status: 503, title: 'Reaction not caught up in time', retryable: true },
  INVALID_POSITION: { status: 400, title: 'Invalid position', retryable: false },
} as const satisfies Record<StreamErrorCode, ErrorKind>;

/** An error of the table. The message may hold ids, never data. */
export function streamError<Code extends StreamErrorCode>(
  code: Code,
  message: string,
  details: StorageErrorDetails[Code],
  init: StorageErrorInit = {},
): StorageError<Code> & StorageErrorDetails[Code] {
  return new StorageError(code, message, kinds[code], details, init) as StorageError<Code> &
    StorageErrorDetails[Code];
}

/** The table as rows, for the reference page and its test. */
export const streamErrorTable: readonly ({ readonly code: StreamErrorCode } & ErrorKind)[] = Object.entries(
  kinds,
).map(([code, kind]) => ({ code: code as StreamErrorCode, ...kind }));
