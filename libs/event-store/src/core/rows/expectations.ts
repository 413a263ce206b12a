/**
 * What the caller says that the stream must be: `expectedVersion`, or `ifMatch`. Present without a
 * value is an error, never "no check".
 */
import { invalidOption, storageError } from '@kvent/key-value-storage/provider';
import { inspect, isPrecondition, outOfRange, versionIn } from '@kvent/key-value-storage/internal';
import type { ExpectedVersion } from '../definition/event-stream.js';
import { ownerOf, type StreamRows } from './stream-rows.js';

/** What a stream must be. */
export interface Expectation {
  readonly expected: ExpectedVersion | readonly number[];
  /**
   * Whose check it is. 'etag' and 'version': given by the caller, never retried. 'loaded': the
   * version that was read, so a conflict is retried together with the reading.
   */
  readonly by: 'etag' | 'version' | 'loaded';
}

export function isMet(expected: Expectation['expected'], version: number): boolean {
  if (expected === 'any') return true;
  if (expected === 'present') return version > 0;
  if (typeof expected === 'object') return expected.includes(version);
  return version === (expected === 'absent' ? 0 : expected);
}

interface ExpectationOptions {
  readonly expectedVersion?: unknown;
  readonly ifMatch?: unknown;
}

/** For `append`, where one of the two is required. */
export function expectationOf(
  verb: string,
  options: ExpectationOptions | undefined,
  rows: StreamRows,
): Expectation {
  const found = readExpectation(verb, options, rows);
  if (found !== undefined) return found;
  throw invalidOption(
    `${verb} needs expectedVersion: a version, 'absent', 'present' or 'any'; or ifMatch. To append without a check, write 'any'.`,
  );
}

/** For `transact` and `delete`, where a version may be given. */
export function conditionOf(
  verb: string,
  options: ExpectationOptions | undefined,
  rows: StreamRows,
): Expectation | undefined {
  const found = readExpectation(verb, options, rows);
  // a precondition that checks nothing
  if (found?.by === 'etag' && found.expected === 'any') return undefined;
  if (found?.by !== 'version' || typeof found.expected === 'number') return found;
  throw invalidOption(`${verb}: expectedVersion is a version; given was ${inspect(found.expected)}.`);
}

function readExpectation(
  verb: string,
  options: ExpectationOptions | undefined,
  rows: StreamRows,
): Expectation | undefined {
  const names = (['expectedVersion', 'ifMatch'] as const).filter(
    (name) => options !== undefined && name in options,
  );
  if (names.length > 1) throw invalidOption(`${verb} takes expectedVersion or ifMatch, not both.`);
  if (names[0] === 'expectedVersion')
    return { expected: expectedIn(verb, options?.expectedVersion), by: 'version' };
  if (names[0] === 'ifMatch') return { expected: versionInEtag(options?.ifMatch, rows), by: 'etag' };
  return undefined;
}

function expectedIn(verb: string, expected: unknown): Expectation['expected'] {
  if (expected === 'absent' || expected === 'present' || expected === 'any') return expected;
  if (Number.isSafeInteger(expected) && (expected as number) >= 0) return expected as number;
  const error = typeof expected === 'number' ? outOfRange : invalidOption;
  throw error(
    `${verb}: expectedVersion is a whole number from 0, 'absent', 'present' or 'any'; given was ${inspect(expected)}.`,
  );
}

/**
 * `v3-<digest>-<schema version>`, the ETag of this stream; `'*'`: whatever is there, but something.
 * ETags of other streams match nothing. A program may give `v3` alone, for it says itself which
 * stream it means; a client that sends it over HTTP does not.
 */
function versionInEtag(given: unknown, rows: StreamRows): Expectation['expected'] {
  if (given === '*') return 'present';
  const owner = ownerOf(rows);
  if (isPrecondition(given)) {
    if (given.etags === 'none') return 'any';
    if (given.etags === 'any') return 'present';
    const versions = given.etags
      .map((etag) => (etag.includes('-') ? numberIn(versionIn(etag, owner)) : undefined))
      .filter((version) => version !== undefined);
    return versions.length === 1 ? (versions[0] as number) : versions;
  }
  const etag = typeof given === 'object' && given !== null && 'etag' in given ? given.etag : given;
  if (typeof etag !== 'string')
    throw invalidOption(
      `An etag is a text; given was ${inspect(etag)}. To append without a check, write expectedVersion: 'any'.`,
    );
  const version = versionIn(etag, owner);
  if (version === null) return [];
  const number = numberIn(version);
  if (number === undefined)
    throw storageError(
      'INVALID_ETAG',
      `The etag of a stream is what EtagInterceptor sent; given was ${inspect(etag)}.`,
      {},
    );
  return number;
}

function numberIn(version: string | null | undefined): number | undefined {
  if (typeof version !== 'string') return undefined;
  const [, digits] = /^v(0|[1-9]\d{0,15})$/.exec(version) ?? [];
  return digits === undefined ? undefined : Number(digits);
}
