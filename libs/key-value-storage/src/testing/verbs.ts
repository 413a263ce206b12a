/**
 * The few words in which clauses are written: values, changes, checks, races, and how to expect a
 * failure.
 */
import assert from 'node:assert/strict';
import {
  isStorageError,
  type Change,
  type Check,
  type CommitResult,
  type Expected,
  type RowAddress,
  type StorageErrorCode,
  type StoredValue,
  type TimeToLive,
  type Value,
} from '../core.js';

export const json = (text: string): StoredValue => ({ kind: 'json', text });
export const number = (value: bigint | number): StoredValue => ({ kind: 'number', number: BigInt(value) });
export const bytes = (...values: number[]): StoredValue => ({
  kind: 'bytes',
  bytes: Uint8Array.from(values),
});

/** A value as it can be compared: bytes are bytes, whether in a `Buffer` or not. */
export function comparable(value: Value | undefined): unknown {
  return value?.kind === 'bytes' ? { kind: 'bytes', bytes: [...value.bytes] } : value;
}

export const rowAddress = ({ container, entity, key }: RowAddress): RowAddress => ({
  container,
  entity,
  key,
});

export const put = (address: RowAddress, value: string | StoredValue, ttl: TimeToLive = 'never'): Change => ({
  kind: 'put',
  address: rowAddress(address),
  value: typeof value === 'string' ? json(value) : value,
  ttl,
});

export const remove = (address: RowAddress): Change => ({ kind: 'delete', address: rowAddress(address) });

export const renew = (address: RowAddress, ttlMs: number): Change => ({
  kind: 'renew',
  address: rowAddress(address),
  ttlMs,
});

type NumericOptions = { readonly floor?: bigint; readonly ceiling?: bigint; readonly ttlMs?: number };
const numeric =
  (kind: 'sum' | 'min' | 'max') =>
  (address: RowAddress, operand: bigint | number, options: NumericOptions = {}): Change => ({
    kind,
    address: rowAddress(address),
    operand: BigInt(operand),
    ...options,
  });
export const sum = numeric('sum');
export const min = numeric('min');
export const max = numeric('max');

/** A check: a version, a word, or a number that the row must be. */
export const check = (address: RowAddress, expected: string | bigint): Check => ({
  address: rowAddress(address),
  expected: expectedOf(expected),
});

function expectedOf(expected: string | bigint): Expected {
  if (typeof expected === 'bigint') return { number: expected };
  return expected === 'absent' || expected === 'present' ? expected : { version: expected };
}

/** Runs `count` rivals at once. */
export const race = <R>(count: number, run: (index: number) => Promise<R>): Promise<R[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => run(index)));

/** That a promise is rejected with this code; answers the error. `call` must not throw. */
export async function assertRejects(
  code: StorageErrorCode,
  what: string,
  call: () => Promise<unknown>,
): Promise<Error & { effect: 'none' | 'unknown' }> {
  let answer: Promise<unknown>;
  try {
    answer = call();
  } catch (error) {
    return assert.fail(`${what} threw (${String(error)}) where it has to answer with a rejected promise`);
  }
  return await answer.then(
    () => assert.fail(`${what} was answered, where ${code} is due`),
    (error: unknown) =>
      isStorageError(error, code)
        ? error
        : assert.fail(`${what} was rejected with ${String(error)}, where ${code} is due`),
  );
}

/** That a call throws at once with this code. */
export function assertThrows(
  code: StorageErrorCode,
  what: string,
  call: () => unknown,
): Error & { effect: 'none' | 'unknown' } {
  try {
    call();
  } catch (error) {
    return isStorageError(error, code)
      ? error
      : assert.fail(`${what} threw ${String(error)}, where ${code} is due`);
  }
  return assert.fail(`${what} was allowed, where ${code} is due`);
}

/** How many of the answers are of each outcome. */
export function outcomes(results: readonly CommitResult[]): Partial<Record<CommitResult['outcome'], number>> {
  const counts: Partial<Record<CommitResult['outcome'], number>> = {};
  for (const { outcome } of results) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}
