/** The options of writes, in the terms of the port. */
import { storageError } from './errors.js';
import { describe } from './key.js';
import type { Condition } from './key-value-store.js';
import { assertTtl, invalidOption } from './options.js';
import type { Expected, TimeToLive } from './storage-provider.js';
import { isVersion } from './version.js';

/** What `ifMatch` asks for; `undefined` only where the option is left out. Present without a text is `INVALID_OPTION`, with a blank or malformed one `INVALID_ETAG`: never "no check". */
export function conditionOf(options: { readonly ifMatch?: Condition | '*' } | undefined): Expected | undefined {
  if (options === undefined || !('ifMatch' in options)) return undefined;
  const { ifMatch } = options as { readonly ifMatch: unknown };
  if (ifMatch === '*') return 'present';
  return { version: etagIn(ifMatch) };
}

/** The version in an etag, or in something that carries one. */
export function etagIn(given: unknown): string {
  const etag = typeof given === 'object' && given !== null && 'etag' in given ? given.etag : given;
  if (typeof etag !== 'string')
    throw invalidOption(`An etag is a text; given was ${describe(etag)}. To write without a check, leave the option out.`);
  if (!isVersion(etag)) {
    throw storageError(
      'INVALID_ETAG',
      `An etag is what a read or write answered; given was ${describe(etag)}. To write without a check, leave it out.`,
      {},
    );
  }
  return etag;
}

/** `expiry`: what counts when no ttlMs is given: the state's own ('replace'), or the one that the row has ('keep'). */
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
