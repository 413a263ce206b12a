/**
 * The version that the caller expects of a stream: `expectedVersion` or `ifMatch`. An option that
 * is present with the value `undefined` is an error, so that a mistake never turns a check off.
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

/** For `append` and `appending`, where a check is required. */
export function expectationOf(
  verb: string,
  options: ExpectationOptions | undefined,
  rows: StreamRows,
): Expectation {
  const found = readExpectation(verb, options, rows);
  if (found !== undefined) return found;
  throw invalidOption(
    `${verb} needs expectedVersion (a version, 'absent', 'present' or 'any') or ifMatch. To append without a check, write 'any'.`,
  );
}

/** For `transact` and `delete`, where a check is optional. */
export function conditionOf(
  verb: string,
  options: ExpectationOptions | undefined,
  rows: StreamRows,
): Expectation | undefined {
  const found = readExpectation(verb, options, rows);
  // a Precondition without etags checks nothing
  if (found?.by === 'etag' && found.expected === 'any') return undefined;
  if (found?.by !== 'version' || typeof found.expected === 'number') return found;
  throw invalidOption(`${verb}: expectedVersion must be a version; got ${inspect(found.expected)}.`);
}

function readExpectation(
  verb: string,
  options: ExpectationOptions | undefined,
  rows: StreamRows,
): Expectation | undefined {
  const names = (['expectedVersion', 'ifMatch'] as const).filter(
    (name) => options !== undefined && name in options,
  );
  if (names.length > 1) throw invalidOption(`${verb} takes either expectedVersion or ifMatch, not both.`);
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
    `${verb}: expectedVersion must be a whole number from 0, 'absent', 'present' or 'any'; got ${inspect(expected)}.`,
  );
}

/**
 * The versions that an ETag allows: `v3-<digest>-<schema version>` of this stream, or `'*'` for any
 * version from 1. ETags of other streams match nothing. Code may pass `v3` alone; a header may not,
 * because a client could send it to another stream.
 */
function versionInEtag(ifMatch: unknown, rows: StreamRows): Expectation['expected'] {
  if (ifMatch === '*') return 'present';
  const owner = ownerOf(rows);
  if (isPrecondition(ifMatch)) {
    if (ifMatch.etags === 'none') return 'any';
    if (ifMatch.etags === 'any') return 'present';
    if (ifMatch.etags === 'absent') return 'absent';
    const versions = ifMatch.etags
      .map((etag) => (etag.includes('-') ? numberIn(versionIn(etag, owner)) : undefined))
      .filter((version) => version !== undefined);
    return versions.length === 1 ? (versions[0] as number) : versions;
  }
  const etag = typeof ifMatch === 'object' && ifMatch !== null && 'etag' in ifMatch ? ifMatch.etag : ifMatch;
  if (typeof etag !== 'string')
    throw invalidOption(
      `ifMatch must be an etag; got ${inspect(etag)}. To append without a check, write expectedVersion: 'any'.`,
    );
  const version = versionIn(etag, owner);
  if (version === null) return [];
  const number = numberIn(version);
  if (number === undefined)
    throw storageError(
      'INVALID_ETAG',
      `The etag of a stream must be one that EtagInterceptor sent; got ${inspect(etag)}.`,
      {},
    );
  return number;
}

function numberIn(version: string | null | undefined): number | undefined {
  if (typeof version !== 'string') return undefined;
  const [, digits] = /^v(0|[1-9]\d{0,15})$/.exec(version) ?? [];
  return digits === undefined ? undefined : Number(digits);
}
