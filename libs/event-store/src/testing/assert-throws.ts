import assert from 'node:assert/strict';
import { isPromise } from '@kvent/key-value-storage/internal';

// oxlint-disable-next-line typescript/no-explicit-any -- any error class
export type Thrown = (new (...given: any[]) => Error) | string;

/** Expects an error of the class, or with the text in its message; asynchronous where `work` is. */
export function assertThrows(work: () => unknown, error: Thrown): unknown {
  const isText = typeof error === 'string';
  const expected = isText ? (thrown: Error): boolean => thrown.message.includes(error) : error;
  const message = isText ? `no error was thrown whose message contains '${error}'` : undefined;
  const assertThrown = (block: () => void): void => assert.throws(block, expected, message);
  let returned: unknown;
  try {
    returned = work();
  } catch (thrown) {
    return assertThrown(() => {
      throw thrown;
    });
  }
  if (!isPromise(returned)) return assertThrown(() => undefined);
  return assert.rejects(Promise.resolve(returned), expected, message);
}
