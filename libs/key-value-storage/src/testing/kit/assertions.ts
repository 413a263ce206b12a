/** Assertions of clauses, and concurrent calls. */
import assert from 'node:assert/strict';
import { isStorageError, type StorageErrorCode } from '../../core.js';
import type { CommitResult, Value } from '../../provider.js';

/** A value in a comparable form: equal bytes are equal, in a `Buffer` or not. */
export function comparable(value: Value | undefined): unknown {
  return value?.kind === 'bytes' ? { kind: 'bytes', bytes: [...value.bytes] } : value;
}

/** Runs `count` calls concurrently. */
export const concurrently = <R>(count: number, run: (index: number) => Promise<R>): Promise<R[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => run(index)));

/** Asserts that a call rejects with this code, and does not throw. Returns the error. */
export async function assertRejects(
  code: StorageErrorCode,
  what: string,
  call: () => Promise<unknown>,
): Promise<Error & { effect: 'none' | 'unknown' }> {
  let result: Promise<unknown>;
  try {
    result = call();
  } catch (error) {
    return assert.fail(`${what} must reject with ${code}, not throw; got ${String(error)}`);
  }
  return await result.then(
    () => assert.fail(`${what} must reject with ${code}; got a result`),
    (error: unknown) =>
      isStorageError(error, code)
        ? error
        : assert.fail(`${what} must reject with ${code}; got ${String(error)}`),
  );
}

/** Asserts that a call throws this code. Returns the error. */
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
      : assert.fail(`${what} must throw ${code}; got ${String(error)}`);
  }
  return assert.fail(`${what} must throw ${code}; got a result`);
}

/** The number of results of each outcome. */
export function outcomes(results: readonly CommitResult[]): Partial<Record<CommitResult['outcome'], number>> {
  const counts: Partial<Record<CommitResult['outcome'], number>> = {};
  for (const { outcome } of results) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}
