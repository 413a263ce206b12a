/** What the caller says that the stream must be: `expectedVersion`, or `ifMatch`. Present without a value is an error, never "no check". */
import { describe, invalidOption, outOfRange, storageError } from '@kvent/key-value-storage/core';
import type { Expectation } from './append-part.js';

interface Given {
  readonly expectedVersion?: unknown;
  readonly ifMatch?: unknown;
}

/** For `append`, where one of the two is required. */
export function expectationOf(verb: string, options: Given | undefined): Expectation {
  const found = readExpectation(verb, options);
  if (found !== undefined) return found;
  throw invalidOption(
    `${verb} needs expectedVersion: a version, 'absent', 'present' or 'any'; or ifMatch. To append without a check, write 'any'.`,
  );
}

/** For `transact` and `delete`, where a version may be given. */
export function conditionOf(verb: string, options: Given | undefined): Expectation | undefined {
  const found = readExpectation(verb, options);
  if (found?.by !== 'version' || typeof found.expected === 'number') return found;
  throw invalidOption(`${verb}: expectedVersion is a version; given was ${describe(found.expected)}.`);
}

function readExpectation(verb: string, options: Given | undefined): Expectation | undefined {
  const names = (['expectedVersion', 'ifMatch'] as const).filter((name) => options !== undefined && name in options);
  if (names.length > 1) throw invalidOption(`${verb} takes expectedVersion or ifMatch, not both.`);
  if (names[0] === 'expectedVersion') return { expected: expectedIn(verb, options?.expectedVersion), by: 'version' };
  if (names[0] === 'ifMatch') return { expected: versionInEtag(options?.ifMatch), by: 'etag' };
  return undefined;
}

function expectedIn(verb: string, expected: unknown): Expectation['expected'] {
  if (expected === 'absent' || expected === 'present' || expected === 'any') return expected;
  if (Number.isSafeInteger(expected) && (expected as number) >= 0) return expected as number;
  const error = typeof expected === 'number' ? outOfRange : invalidOption;
  throw error(`${verb}: expectedVersion is a whole number from 0, 'absent', 'present' or 'any'; given was ${describe(expected)}.`);
}

/** `"v3"` over HTTP, `v3` here; `'*'`: whatever is there, but something. */
function versionInEtag(given: unknown): Expectation['expected'] {
  if (given === '*') return 'present';
  const etag = typeof given === 'object' && given !== null && 'etag' in given ? given.etag : given;
  if (typeof etag !== 'string')
    throw invalidOption(`An etag is a text; given was ${describe(etag)}. To append without a check, write expectedVersion: 'any'.`);
  const [, digits] = typeof etag === 'string' ? (/^v(0|[1-9]\d{0,15})$/.exec(etag) ?? []) : [];
  if (digits === undefined)
    throw storageError('INVALID_ETAG', `The etag of a stream is v and its version; given was ${describe(etag)}.`, {});
  return Number(digits);
}
