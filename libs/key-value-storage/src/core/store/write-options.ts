/** Options of writes, translated to the checks and times to live of the port. */
import { EntryInfo } from './entry.js';
import { isPrecondition, versionIn, type Precondition } from './etag.js';
import { storageError } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import type { EtagLike } from './key-value-store.js';
import { assertTtl, invalidOption } from '../base/options.js';
import type { Address, Expected, TimeToLive } from '../port/storage-provider.js';
import { isVersion } from '../port/version.js';

/** One of these versions: the row must be read to know which. */
export interface OneOf {
  readonly versions: readonly string[];
}

/**
 * The check of `ifMatch`; `undefined` only where the option is left out, or where a `Precondition`
 * holds no etag. Present without a text is `INVALID_OPTION`, blank or malformed is `INVALID_ETAG`:
 * never "no check".
 */
export function conditionOf(
  options: { readonly ifMatch?: EtagLike | Precondition | '*' } | undefined,
  { database, container, entity, key }: Address,
): Expected | OneOf | undefined {
  if (options === undefined || !('ifMatch' in options)) return undefined;
  const { ifMatch } = options as { readonly ifMatch: unknown };
  if (ifMatch === '*') return 'present';
  if (typeof ifMatch === 'string' && isVersion(ifMatch)) return { version: ifMatch };
  const owner = [database, container, entity, key];
  if (isPrecondition(ifMatch)) {
    const { etags } = ifMatch;
    if (etags === 'none') return undefined;
    if (etags === 'any') return 'present';
    if (etags === 'absent') return 'absent';
    return oneOf(
      etags
        .map((etag) => versionIn(etag, owner))
        .filter((version) => typeof version === 'string' && isVersion(version)),
    );
  }
  const version = typeof ifMatch === 'string' ? versionIn(ifMatch, owner) : undefined;
  return version === null ? oneOf([]) : { version: etagIn(version ?? ifMatch) };
}

/**
 * Whether `ifMatch` is an entry: what its caller has read. A repeat of the caller's work reads
 * again. An etag as a text may be a client's, who sends the same one again.
 */
export const restsOnReading = (options: { readonly ifMatch?: unknown } | undefined): boolean =>
  options?.ifMatch instanceof EntryInfo;

const oneOf = (versions: readonly (string | null | undefined)[]): Expected | OneOf =>
  versions.length === 1 ? { version: versions[0] as string } : { versions: versions as readonly string[] };

export const isOneOf = (condition: Expected | OneOf | undefined): condition is OneOf =>
  typeof condition === 'object' && 'versions' in condition;

/** The version in an etag, or in something that carries one. */
export function etagIn(given: unknown): string {
  const etag = typeof given === 'object' && given !== null && 'etag' in given ? given.etag : given;
  if (typeof etag !== 'string')
    throw invalidOption(
      `An etag must be a text; got ${inspect(etag)}. To write without a check, leave the option out.`,
    );
  if (!isVersion(etag)) {
    throw storageError(
      'INVALID_ETAG',
      `An etag must be one that a read or write returned; got ${inspect(etag)}. To write without a check, leave the option out.`,
      {},
    );
  }
  return etag;
}

/** `expiry`: without `ttlMs`, the state's own counts ('replace'), or that of the row ('keep'). */
export function ttlOf(
  verb: string,
  given: number | 'keep' | 'never' | undefined,
  ownTtlMs: number | undefined,
  expiry: 'replace' | 'keep',
): TimeToLive {
  const own = ownTtlMs ?? 'never';
  if (given === undefined) return expiry === 'replace' ? own : { keepElse: own };
  if (given === 'never') return 'never';
  if (given === 'keep') return { keepElse: own };
  assertTtl(verb, given);
  return given;
}
