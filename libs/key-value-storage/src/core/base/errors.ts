/**
 * The error class, and the table of its codes with their HTTP status. Errors are recognised by a
 * brand and their `code`, never by `instanceof`, so that two copies of this package in one process
 * recognise each other's errors.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Key } from './key.js';
import { printable } from './printable.js';

/** A code: its HTTP status and title, whether the same call may succeed later, and be retried. */
export interface ErrorKind {
  readonly status: number;
  readonly title: string;
  readonly retryable: boolean;
  readonly conflict?: boolean;
}

const kinds = {
  STORAGE_CONFLICT: {
    status: 409,
    title: 'Conflict with a concurrent write',
    retryable: true,
    conflict: true,
  },
  KEY_NOT_FOUND: { status: 404, title: 'Key not found', retryable: false },
  KEY_EXISTS: { status: 409, title: 'Key already exists', retryable: false },
  UNIQUE_TAKEN: { status: 409, title: 'Unique key already taken', retryable: false },
  INVALID_KEY: { status: 400, title: 'Invalid key', retryable: false },
  INVALID_ETAG: { status: 400, title: 'Invalid etag', retryable: false },
  INVALID_CURSOR: { status: 400, title: 'Invalid cursor', retryable: false },
  OUT_OF_RANGE: { status: 400, title: 'Value out of range', retryable: false },
  COUNTER_OUT_OF_RANGE: { status: 409, title: 'Counter out of range', retryable: false },
  INVALID_OPTION: { status: 500, title: 'Invalid option', retryable: false },
  INVALID_STATE: { status: 500, title: 'Invalid state', retryable: false },
  INVALID_VALUE: { status: 422, title: 'Invalid value', retryable: false },
  LIMIT_EXCEEDED: { status: 413, title: 'Limit exceeded', retryable: false },
  TENANT_MISSING: { status: 400, title: 'Missing tenant', retryable: false },
  TENANT_UNKNOWN: { status: 404, title: 'Unknown tenant', retryable: false },
  TENANT_FORBIDDEN: { status: 403, title: 'Access to the tenant denied', retryable: false },
  PRECONDITION_REQUIRED: { status: 428, title: 'Missing If-Match header', retryable: false },
  IDEMPOTENCY_KEY_REQUIRED: { status: 400, title: 'Missing idempotency key', retryable: false },
  IDEMPOTENCY_CONFLICT: {
    status: 422,
    title: 'Idempotency key already used for another request',
    retryable: false,
  },
  IDEMPOTENCY_IN_PROGRESS: { status: 409, title: 'First request still in progress', retryable: true },
  IDEMPOTENCY_RESPONSE_TOO_LARGE: {
    status: 409,
    title: 'Response of the first request not kept',
    retryable: false,
  },
  STORAGE_NOT_OPEN: { status: 503, title: 'Storage not open', retryable: false },
  STORAGE_UNAVAILABLE: { status: 503, title: 'Storage unavailable', retryable: true },
  INDEX_NOT_READY: { status: 503, title: 'Index not ready', retryable: true },
  STORAGE_LOCKED: { status: 503, title: 'Storage in use by another process', retryable: true },
  STORAGE_OUTCOME_UNKNOWN: { status: 504, title: 'Unknown outcome of a write', retryable: false },
  STORAGE_CORRUPT: { status: 500, title: 'Damaged data', retryable: false },
  STORAGE_UNSUPPORTED: { status: 501, title: 'Unsupported operation', retryable: false },
  ABORTED: { status: 499, title: 'Request aborted', retryable: false },
} as const satisfies Record<string, ErrorKind>;

/** The fields that come with each code. Other packages add theirs by declaration merging. */
export interface StorageErrorDetails {
  /**
   * `check`: 'caller' for a check of the caller (`ifMatch`): never retried, and a 412 over HTTP.
   */
  STORAGE_CONFLICT: {
    readonly key: Key;
    readonly expected: string;
    readonly actual: string | undefined;
    readonly check: 'caller' | 'own';
  };
  KEY_NOT_FOUND: { readonly key: Key };
  KEY_EXISTS: { readonly key: Key };
  /**
   * `state` and `index`: their names; `indexKey`: the key of the index that two entries would have.
   */
  UNIQUE_TAKEN: { readonly state: string; readonly index: string; readonly indexKey: Key };
  INVALID_KEY: object;
  INVALID_ETAG: object;
  INVALID_CURSOR: object;
  OUT_OF_RANGE: object;
  /** `floor`, `ceiling`: the bounds of the counter, of the type of its numbers. */
  COUNTER_OUT_OF_RANGE: {
    readonly key: Key;
    readonly floor: number | bigint;
    readonly ceiling: number | bigint;
  };
  INVALID_OPTION: object;
  INVALID_STATE: object;
  INVALID_VALUE: { readonly issues: readonly StandardSchemaV1.Issue[] };
  LIMIT_EXCEEDED: { readonly limit: string; readonly given: number; readonly allowed: number };
  TENANT_MISSING: object;
  TENANT_UNKNOWN: { readonly tenant: string };
  TENANT_FORBIDDEN: { readonly tenant: string };
  PRECONDITION_REQUIRED: object;
  IDEMPOTENCY_KEY_REQUIRED: object;
  IDEMPOTENCY_CONFLICT: { readonly idempotencyKey: string };
  IDEMPOTENCY_IN_PROGRESS: { readonly idempotencyKey: string };
  /** `firstStatus`: the HTTP status of the response that was not kept. */
  IDEMPOTENCY_RESPONSE_TOO_LARGE: { readonly idempotencyKey: string; readonly firstStatus: number };
  STORAGE_NOT_OPEN: object;
  /**
   * `unreachable`: there was no connection, or no response on it, so every call would fail alike.
   */
  STORAGE_UNAVAILABLE: { readonly unreachable?: true };
  INDEX_NOT_READY: { readonly state: string; readonly index: string };
  STORAGE_LOCKED: object;
  STORAGE_OUTCOME_UNKNOWN: object;
  STORAGE_CORRUPT: { readonly place: string };
  STORAGE_UNSUPPORTED: object;
  ABORTED: object;
}
export type StorageErrorCode = keyof StorageErrorDetails;
/** The codes of this package's own table. */
export type OwnErrorCode = keyof typeof kinds;

const brand = Symbol.for('kvent.error');
const errorPages = 'https://github.com/kvent/kvent/blob/main/docs/reference/errors.md';
const helpOf = (code: string): string => `${errorPages}#${code.toLowerCase()}`;

/** The code whose effect is always unknown. */
const outcomeUnknown: OwnErrorCode = 'STORAGE_OUTCOME_UNKNOWN';

export interface StorageErrorInit {
  readonly effect?: 'none' | 'unknown';
  readonly retryable?: boolean;
  readonly cause?: unknown;
}

/**
 * Every error that this library throws. `effect`: 'none' when nothing was changed, 'unknown' when a
 * write may have been committed; always 'unknown' for `STORAGE_OUTCOME_UNKNOWN`. `retryable`:
 * whether the same call may succeed later. `attempts`: set by a retry loop that gave up; outer
 * loops then do not retry. `done`: how many items work of several commits (a load, a deletion, a
 * sweep, a migration, a copy) had done before it failed; 'unknown' if there are any.
 */
export class StorageError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly effect: 'none' | 'unknown';
  readonly retryable: boolean;
  /** The HTTP status of the code; 500 for an `INVALID_VALUE` that only the program can cause. */
  readonly status: number;
  /** The address of the section that explains the code. */
  readonly help: string;
  declare attempts?: number;
  declare done?: number;

  constructor(code: Code, message: string, kind: ErrorKind, details: object, init: StorageErrorInit = {}) {
    // names, keys and options may hold control characters: a message is one printable line
    super(printable(message), init.cause === undefined ? undefined : { cause: init.cause });
    this.name = 'StorageError';
    this.code = code;
    this.effect = code === outcomeUnknown ? 'unknown' : (init.effect ?? 'none');
    this.retryable = init.retryable ?? kind.retryable;
    this.status = kind.status;
    this.help = helpOf(code);
    Object.assign(this, details);
    Object.defineProperty(this, brand, { value: { title: kind.title, conflict: kind.conflict === true } });
  }
}

type Details<Code extends StorageErrorCode> = StorageErrorDetails[Code];

/**
 * An error of the table. The message states the given and the allowed value; keys, never values.
 */
export function storageError<Code extends OwnErrorCode>(
  code: Code,
  message: string,
  details: Details<Code>,
  init: StorageErrorInit = {},
): StorageError<Code> & Details<Code> {
  return new StorageError(code, message, kinds[code], details, init) as StorageError<Code> & Details<Code>;
}

/** An `INVALID_VALUE` that only the program can have caused, never its client: 500 over HTTP. */
export const unstorableValue = (message: string, details: StorageErrorDetails['INVALID_VALUE']) =>
  new StorageError('INVALID_VALUE', message, { ...kinds.INVALID_VALUE, status: 500 }, details);

/** Whether this is an error of Kvent, of this code if one is given; narrows to its fields. */
export function isStorageError(error: unknown): error is StorageError;
export function isStorageError<Code extends StorageErrorCode>(
  error: unknown,
  code: Code,
): error is StorageError<Code> & StorageErrorDetails[Code];
export function isStorageError(error: unknown, code?: string): boolean {
  if (typeof error !== 'object' || error === null || !(brand in error)) return false;
  return code === undefined || (error as unknown as StorageError).code === code;
}

interface Branded {
  readonly [brand]: { readonly title: string; readonly conflict: boolean };
}

/** The title of the error's code, for problem details. */
export const titleOf = (error: StorageError): string => (error as unknown as Branded)[brand].title;

/** Whether it is a conflict with a concurrent write: what retry loops repeat. */
export const isConflict = (error: unknown): error is StorageError =>
  isStorageError(error) && (error as unknown as Branded)[brand].conflict;

/** The error of a page-wise deletion: how many entries are deleted, and an effect that fits. */
export const partlyDone = (error: StorageError, done: number): StorageError =>
  stoppedAfter(error, done, `The deletion failed after ${done} entries, which are deleted.`);

/** The error of an import: how many rows are stored, and an effect that fits. */
export const partlyImported = (error: StorageError, done: number): StorageError =>
  stoppedAfter(error, done, `The import stopped after ${done} rows, which are stored: ${error.message}`);

/** The error of page-wise work that failed after `done` items took effect. */
export function stoppedAfter(error: StorageError, done: number, message: string): StorageError {
  if (done === 0 || error.effect === 'unknown') {
    error.done = done;
    return error;
  }
  const { code, effect: _effect, retryable, status, help: _help, ...details } = error;
  const kind = { status, title: titleOf(error), retryable };
  const partly = new StorageError(code, message, kind, details, {
    effect: 'unknown',
    cause: error,
  });
  partly.done = done;
  return partly;
}

/** Code, HTTP status, title and whether it is retryable, for the reference page and its test. */
export const errorTable: readonly ({ readonly code: OwnErrorCode } & ErrorKind)[] = Object.entries(kinds).map(
  ([code, kind]) => ({
    code: code as OwnErrorCode,
    ...kind,
  }),
);
