/** Assertions of clauses, and how clauses run calls concurrently. */
import assert from 'node:assert/strict';
import { isStorageError, type StorageErrorCode } from '../../core.js';
import type { CommitResult, Value } from '../../provider.js';

/** A value as it can be compared: bytes are bytes, whether in a `Buffer` or not. */
export function comparable(value: Value | undefined): unknown {
  return value?.kind === 'bytes' ? { kind: 'bytes', bytes: [...value.bytes] } : value;
}

/** Runs `count` rivals at once. */
export const concurrently = <R>(count: number, run: (index: number) => Promise<R>): Promise<R[]> =>
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
