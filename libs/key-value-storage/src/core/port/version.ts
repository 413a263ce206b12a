/**
 * Versions are made here, above the port: 63 bits, a random start for each database of a storage,
 * then counted up, one for each batch. They are compared for equality only, so nothing has to be
 * stored or restored to keep them unique: an etag never returns after a delete, a restart, a
 * compaction or a restored backup, and it outlives a move to another provider. Each database counts
 * by itself, so that no tenant can count the writes of another by the etags of its own.
 */
import { RecentMap } from '../base/recent-map.js';
import type { Version } from './storage-provider.js';

const versionMax = 2n ** 63n - 1n;
/** Counting up from a random start must not leave 63 bits: 2^62 batches of room. */
const startMax = 2n ** 62n;
/** The low half has always nine digits: it needs no padding, and is a small integer. */
const lowMin = 100_000_000;
const lowMax = 1_000_000_000;

/**
 * A source of versions. The number is kept in two halves: strings of the high one are made once in
 * 900 million versions.
 */
export function versionSource(random: () => bigint = randomStart): () => Version {
  const start = random();
  let high = start / BigInt(lowMax);
  let low = Math.max(lowMin, Number(start % BigInt(lowMax)));
  let prefix = high.toString();
  return () => {
    low += 1;
    if (low === lowMax) {
      low = lowMin;
      high += 1n;
      prefix = high.toString();
    }
    return prefix + low.toString();
  };
}

/**
 * Databases whose place in the count is kept. More than that, and the one that wrote longest ago
 * begins anew at another random start.
 */
const databasesMax = 1_000;

/** Versions for the databases of one storage: a source for each. */
export function databaseVersions(source: () => () => Version = versionSource): (database: string) => Version {
  const sources = new RecentMap<string, () => Version>(databasesMax);
  let last: { readonly database: string; readonly next: () => Version } | undefined;
  return (database) => {
    if (last?.database === database) return last.next();
    const next = sources.get(database) ?? source();
    sources.set(database, next);
    last = { database, next };
    return next();
  };
}

/** From the system's random source; at least 10^9, so that the high half is never zero. */
function randomStart(): bigint {
  const [word = 0n] = crypto.getRandomValues(new BigUint64Array(1));
  return (word % (startMax - BigInt(lowMax))) + BigInt(lowMax);
}

/** Whether a text could be a version: what an etag is checked by before it is compared. */
export function isVersion(text: string): boolean {
  return /^[1-9][0-9]{0,18}$/.test(text) && (text.length < 19 || BigInt(text) <= versionMax);
}
