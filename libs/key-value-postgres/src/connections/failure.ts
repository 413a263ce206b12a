/** From the errors of the driver and the server to the errors of Kvent. */
import { isStorageError, storageError, type StorageError } from '@kvent/key-value-storage/provider';
import { fastPathMark } from '../sql/append-statements.js';
import { formerBaseMark } from '../sql/feed-columns.js';
import { laterMark } from '../sql/feed-statements.js';
import { raceMark } from '../sql/general-statement.js';
import type { Purpose } from './session.js';

/** Thrown by the driver or by the pool. `code`: the SQLSTATE, or that of a socket. */
interface DriverError {
  readonly code?: string;
  readonly message?: string;
  readonly severity?: string;
}

const driverErrorOf = (error: unknown): DriverError =>
  typeof error === 'object' && error !== null ? error : { message: String(error) };

/**
 * The SQLSTATE with which the server refused a statement. Undefined when the server did not decide
 * on it: a broken socket, a timeout, a shutdown.
 */
export function refusalOf(error: unknown): string | undefined {
  const { code, severity } = driverErrorOf(error);
  if (code === undefined || severity === undefined || !/^[0-9A-Z]{5}$/.test(code)) return undefined;
  // a session that was terminated may have committed before
  return severity === 'FATAL' || severity === 'PANIC' || code.startsWith('57P') || code.startsWith('08')
    ? undefined
    : code;
}

/**
 * Serialization failures, deadlocks, and the deliberate failure: all is undone, and may run again.
 */
export function mayRunAgain(error: unknown): boolean {
  const state = refusalOf(error);
  return state === '40001' || state === '40P01' || isRace(error);
}

/** Another session has created a row: all is undone. */
export const isRace = (error: unknown): boolean => isDeliberate(error, raceMark);

/** What was written would stand in the feed before what it follows: all is undone. */
export const standsBefore = (error: unknown): boolean => isDeliberate(error, laterMark);

/** The statement has a former base of the feed: all is undone. With the present one it may run. */
export const hasFormerBase = (error: unknown): boolean => isDeliberate(error, formerBaseMark);

/** A cast that a statement lets fail. */
const isDeliberate = (error: unknown, mark: string): boolean =>
  refusalOf(error) === '22P02' && (driverErrorOf(error).message?.includes(mark) ?? false);

/**
 * The assumption of a fast path did not hold, or a row that it creates exists: all was undone.
 */
export const isFastPathFailure = (error: unknown): boolean =>
  refusalOf(error) === '23505' || isDeliberate(error, fastPathMark);

/** A lock was not granted in time: everything was undone. */
export const isLockTimeout = (error: unknown): boolean => refusalOf(error) === '55P03';

/**
 * The server refused the statement for any reason: a row is held, data is bad, a trigger or a
 * policy forbids a row. Everything was undone, and the connection is intact. One batch may be the
 * cause, so the others of the statement must not fail with it.
 */
export const isAboutStatement = (error: unknown): boolean =>
  refusalOf(error) !== undefined && !isBroken(error);

/** The batch cannot be stored: bad JSON, a NUL, a key too long for an index, too many rows. */
function isBadData(error: unknown): boolean {
  const state = refusalOf(error);
  return state !== undefined && /^(21|22|23|54)/.test(state);
}

/**
 * Whether the connection must not be used again. A server that only reads counts: another may have
 * been promoted.
 */
export function isBroken(error: unknown): boolean {
  const state = refusalOf(error);
  return state === undefined || state === '25006' || state === '26000' || state === '42P05';
}

/** No connection was available: nothing was sent. */
export class NotConnected extends Error {
  readonly failure: StorageError;

  constructor(failure: StorageError) {
    super(failure.message);
    this.failure = failure;
  }
}

/** A statement had no response within `requestTimeoutMs`: the server may still run it. */
export class NoResponse extends Error {
  constructor() {
    super('The server did not respond in time.');
  }
}

/** It was sent, and there was no response. */
export const wasLost = (error: unknown): boolean =>
  refusalOf(error) === undefined && !(error instanceof NotConnected);

/** The error of Kvent for what a session rejected with. */
export function errorOf(error: unknown, name: string, purpose: Purpose): StorageError {
  if (isStorageError(error)) return error;
  if (error instanceof NotConnected) return error.failure;
  const state = refusalOf(error);
  if (state === undefined) return lost(error, name, purpose);
  const cause = new Error(`Postgres refused the statement with SQLSTATE ${state}.`);
  if (mayRunAgain(error) || hasFormerBase(error))
    return unavailable(`${name}: every attempt conflicted with another session`, cause);
  switch (state) {
    case '55P03':
      return unavailable(
        `${name}: a row is held by an open transaction. If that is your own transaction, use within(transaction) of the storage, the store or the stream`,
        cause,
      );
    case '25P02':
      return storageError(
        'STORAGE_UNAVAILABLE',
        `${name}: an earlier error has ended the transaction. Roll it back, and run it again as a whole: a retry belongs around the transaction, not inside it.`,
        {},
        { retryable: false, cause },
      );
    case '57014':
      return unavailable(`${name} took longer than statement_timeout allows`, cause);
    case '25006':
      return standby(name, cause);
    case '26000':
    case '42P05':
      return unavailable(
        `${name} lost a prepared statement: behind a pooler, use preparedStatements: false`,
        cause,
      );
    case '42P01':
    case '3F000':
    case '42703':
      return missingTable(name, cause);
    default:
      return refused(`${name} refused a statement (SQLSTATE ${state}).`, state, cause);
  }
}

/** The same of a commit: what cannot be stored is `INVALID_VALUE`. The race looks like bad data. */
export function commitErrorOf(error: unknown, name: string, purpose: Purpose): StorageError {
  if (!isBadData(error) || mayRunAgain(error) || hasFormerBase(error)) return errorOf(error, name, purpose);
  const { message } = error as Error;
  return storageError(
    'INVALID_VALUE',
    `Postgres cannot store this batch: ${message} (SQLSTATE ${refusalOf(error) ?? ''}).`,
    { issues: [{ message }] },
  );
}

/** What a trigger, the rights of the role or a policy of rows refuses is refused again. */
const refused = (message: string, state: string, cause: Error): StorageError =>
  storageError('STORAGE_UNAVAILABLE', message, {}, { retryable: !/^(P0|42|0A|44)/.test(state), cause });

export const missingTable = (name: string, cause?: unknown): StorageError =>
  storageError(
    'STORAGE_UNAVAILABLE',
    `${name} has no table, or an older one: run kventMigrations, or leave migrate at 'on-open'.`,
    {},
    { retryable: false, cause },
  );

/** The server refused it: nothing took effect. */
export const unavailable = (message: string, cause?: unknown): StorageError =>
  storageError('STORAGE_UNAVAILABLE', `${message}.`, {}, { cause });

/** Nothing was read or written there. */
export const standby = (name: string, cause?: unknown): StorageError =>
  unavailable(
    `${name} is on a server that only reads: a standby, or a primary that was replaced. A process that only reads may use one: standby: 'allow'`,
    cause,
  );

/** Nothing was sent, or a read had no response: nothing took effect. */
export const unreachable = (message: string, cause?: unknown): StorageError =>
  storageError('STORAGE_UNAVAILABLE', `${message}.`, { unreachable: true }, { cause });

/** There was no response: a read can be repeated, a write may have taken effect. */
function lost(error: unknown, name: string, purpose: Purpose): StorageError {
  const { message = 'The connection was lost.' } = driverErrorOf(error);
  const cause = new Error(message);
  // the driver refused before it sent anything
  if (purpose === 'read' || message.includes('not queryable'))
    return unreachable(`${name} did not respond`, cause);
  return storageError(
    'STORAGE_OUTCOME_UNKNOWN',
    `${name} did not respond to a commit: its outcome is unknown.`,
    {},
    { effect: 'unknown', cause },
  );
}
