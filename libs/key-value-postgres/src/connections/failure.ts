/**
 * From what the driver and the server say went wrong to the errors of Kvent: what took effect, and
 * what to do next.
 */
import { isStorageError, storageError, type StorageError } from '@kvent/key-value-storage/provider';
import { unlikelyMark } from '../sql/append-statements.js';
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
 * The SQLSTATE with which the server refused a statement. Undefined for whatever says nothing about
 * it: a socket, a timeout, a dying server.
 */
export function refusalOf(error: unknown): string | undefined {
  const { code, severity } = driverErrorOf(error);
  if (code === undefined || severity === undefined || !/^[0-9A-Z]{5}$/.test(code)) return undefined;
  // a session that is ended may have committed already
  return severity === 'FATAL' || severity === 'PANIC' || code.startsWith('57P') || code.startsWith('08')
    ? undefined
    : code;
}

/**
 * Serialization failures, deadlocks, and the failure on purpose: everything was undone, and the
 * statement may run again.
 */
export function mayRunAgain(error: unknown): boolean {
  const state = refusalOf(error);
  if (state === '40001' || state === '40P01') return true;
  return state === '22P02' && (driverErrorOf(error).message?.includes(raceMark) ?? false);
}

/** What was tried because it was likely turned out otherwise: everything was undone. */
export const isUnlikely = (error: unknown): boolean =>
  refusalOf(error) === '22P02' && (driverErrorOf(error).message?.includes(unlikelyMark) ?? false);

/** A lock was not given in time: everything was undone. */
export const isLockTimeout = (error: unknown): boolean => refusalOf(error) === '55P03';

/**
 * The server refused the statement, whatever for: a row is held, data are bad, a trigger or a
 * policy of one row says no. Everything was undone, and the connection is as good as before. What
 * is about one batch of a statement must not fail the others.
 */
export const isAboutStatement = (error: unknown): boolean =>
  refusalOf(error) !== undefined && !isBroken(error);

/**
 * What was sent cannot be stored: bad JSON, a NUL, a key too long for an index, a statement too
 * complex.
 */
export function isBadData(error: unknown): boolean {
  const state = refusalOf(error);
  return state !== undefined && /^(21|22|23|54)/.test(state);
}

/**
 * Whether the connection cannot be used any more. A server that only reads is one that the pool
 * should leave: another may have been promoted.
 */
export function isBroken(error: unknown): boolean {
  const state = refusalOf(error);
  return state === undefined || state === '25006' || state === '26000' || state === '42P05';
}

/** A connection could not be had: nothing was sent. */
export class NotConnected extends Error {
  readonly failure: StorageError;

  constructor(failure: StorageError) {
    super(failure.message);
    this.failure = failure;
  }
}

/** It was sent, and no answer came, for whatever reason. */
export const wasLost = (error: unknown): boolean =>
  refusalOf(error) === undefined && !(error instanceof NotConnected);

/** The error of Kvent for what a session rejected with. */
export function errorOf(error: unknown, name: string, purpose: Purpose): StorageError {
  if (isStorageError(error)) return error;
  if (error instanceof NotConnected) return error.failure;
  const state = refusalOf(error);
  if (state === undefined) return lost(error, name, purpose);
  const cause = new Error(`Postgres refused the statement with SQLSTATE ${state}.`);
  if (mayRunAgain(error))
    return unavailable(`${name} was asked again and again, and other sessions were faster each time`, cause);
  switch (state) {
    case '55P03':
      return unavailable(
        `${name}: a row is held by an open transaction. If it is one of your own, use within(transaction) of the storage, the store or the stream in it`,
        cause,
      );
    case '57014':
      return unavailable(`${name} took longer than statement_timeout allows`, cause);
    case '25006':
      return unavailable(
        `${name} answers on a server that only reads: a standby, or a primary that was replaced`,
        cause,
      );
    case '26000':
    case '42P05':
      return unavailable(
        `${name} forgot a prepared statement: behind a pooler, use preparedStatements: false`,
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

/**
 * What a trigger raises, what the role may not do, and what a policy of rows forbids will be
 * refused again.
 */
const refused = (message: string, state: string, cause: Error): StorageError =>
  storageError('STORAGE_UNAVAILABLE', message, {}, { retryable: !/^(P0|42|0A|44)/.test(state), cause });

export const missingTable = (name: string, cause?: unknown): StorageError =>
  storageError(
    'STORAGE_UNAVAILABLE',
    `${name} has no table, or an older one: run kventMigrations, or leave migrate at 'on-open'.`,
    {},
    { retryable: false, cause },
  );

/** Nothing was sent, or it was refused: nothing took effect. */
export const unavailable = (message: string, cause?: unknown): StorageError =>
  storageError('STORAGE_UNAVAILABLE', `${message}.`, {}, { cause });

/** No answer came: what only reads can be asked again, what writes may have been done. */
function lost(error: unknown, name: string, purpose: Purpose): StorageError {
  const { message = 'The connection was lost.' } = driverErrorOf(error);
  const cause = new Error(message);
  // the driver knew before it sent anything
  if (purpose === 'read' || message.includes('not queryable'))
    return unavailable(`${name} gave no answer`, cause);
  return storageError(
    'STORAGE_OUTCOME_UNKNOWN',
    `${name} gave no answer to a commit: whether it was done is not known.`,
    {},
    { effect: 'unknown', cause },
  );
}
