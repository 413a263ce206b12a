/**
 * The one error class, the one table of its codes, and the one table from code to HTTP status.
 * Errors are recognised by a brand and their `code`, never by `instanceof`: two copies of this
 * package in one process understand each other.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Key } from './key.js';
import { printable } from './printable.js';

/**
 * What a code means: its HTTP status, a title for people, and whether the same call may succeed
 * later. A `conflict` is what retry loops repeat.
 */
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
  INVALID_KEY: { status: 400, title: 'Invalid key', retryable: false },
  INVALID_ETAG: { status: 400, title: 'Invalid etag', retryable: false },
  INVALID_CURSOR: { status: 400, title: 'Invalid cursor', retryable: false },
  OUT_OF_RANGE: { status: 400, title: 'Value out of range', retryable: false },
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
  STORAGE_NOT_OPEN: { status: 503, title: 'Storage not open', retryable: false },
  STORAGE_UNAVAILABLE: { status: 503, title: 'Storage unavailable', retryable: true },
  STORAGE_LOCKED: { status: 503, title: 'Storage in use by another process', retryable: true },
  STORAGE_OUTCOME_UNKNOWN: { status: 504, title: 'Unknown outcome of a write', retryable: false },
  STORAGE_CORRUPT: { status: 500, title: 'Damaged data', retryable: false },
  STORAGE_UNSUPPORTED: { status: 501, title: 'Unsupported operation', retryable: false },
  ABORTED: { status: 499, title: 'Request aborted', retryable: false },
} as const satisfies Record<string, ErrorKind>;

/** The fields that come with each code. Other packages add theirs by declaration merging. */
export interface StorageErrorDetails {
  /**
   * `check`: 'caller' where the failed check was given by the caller (`ifMatch`): such a conflict
   * is never retried, and is a 412 over HTTP.
   */
  STORAGE_CONFLICT: {
    readonly key: Key;
    readonly expected: string;
    readonly actual: string | undefined;
    readonly check: 'caller' | 'own';
  };
  KEY_NOT_FOUND: { readonly key: Key };
  KEY_EXISTS: { readonly key: Key };
  INVALID_KEY: object;
  INVALID_ETAG: object;
  INVALID_CURSOR: object;
  OUT_OF_RANGE: object;
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
  STORAGE_NOT_OPEN: object;
  STORAGE_UNAVAILABLE: object;
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
/** Where a code is explained. */
const helpOf = (code: string): string => `docs/reference/errors.md#${code.toLowerCase()}`;

/** The one code that says by itself what took effect. */
const outcomeUnknown: OwnErrorCode = 'STORAGE_OUTCOME_UNKNOWN';

export interface StorageErrorInit {
  readonly effect?: 'none' | 'unknown';
  readonly retryable?: boolean;
  readonly cause?: unknown;
}

/**
 * Everything this library throws. `effect`: 'none' when nothing was changed, 'unknown' when a write
 * may have landed all the same; always 'unknown' with `STORAGE_OUTCOME_UNKNOWN`, whatever its maker
 * says. `retryable`: whether the same call may succeed later. `attempts`: set by a retry loop that
 * gave up; outer loops then let the error pass. `done`: how much a page-wise deletion, or a copy,
 * had done before it failed.
 */
export class StorageError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly effect: 'none' | 'unknown';
  readonly retryable: boolean;
  /** The HTTP status of the code. */
  readonly status: number;
  /**
   * Where the code is explained: the path of a page and the anchor in it. It is not part of the
   * message.
   */
  readonly help: string;
  declare attempts?: number;
  declare done?: number;

  constructor(code: Code, message: string, kind: ErrorKind, details: object, init: StorageErrorInit = {}) {
    // whatever name, key or option stands in it, a message is one line, and shows what is there
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
 * Makes an error of the table. `message`: subject, what is, what was expected; keys yes, values
 * never.
 */
export function storageError<Code extends OwnErrorCode>(
  code: Code,
  message: string,
  details: Details<Code>,
  init: StorageErrorInit = {},
): StorageError<Code> & Details<Code> {
  return new StorageError(code, message, kinds[code], details, init) as StorageError<Code> & Details<Code>;
}

/**
 * Whether this is an error of Kvent, of any copy of the package, and of this code if one is given.
 * Narrows to the fields of the code.
 */
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

/** The heading of the error's code, for problem details. */
export const titleOf = (error: StorageError): string => (error as unknown as Branded)[brand].title;

/** Whether it says that someone else was faster: what retry loops repeat. */
export const isConflict = (error: unknown): error is StorageError =>
  isStorageError(error) && (error as unknown as Branded)[brand].conflict;

/**
 * The error of a deletion that goes page by page: it says how many are gone, and never that nothing
 * was changed when something was.
 */
export const partlyDone = (error: StorageError, done: number): StorageError =>
  stoppedAfter(error, done, `The deletion stopped after ${done} entries, which are gone.`);

/** The error of work that goes page by page, of which `done` items took effect before it failed. */
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
