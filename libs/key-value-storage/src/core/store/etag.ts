/**
 * ETags of HTTP, and preconditions with several of them. `entry.etag` is the version alone. The
 * ETag of a representation is `<version>-<digest of its owner>-<schema version>`: two rows may have
 * equal versions (rows of one batch do, and streams count from 1), and one version has a different
 * representation under each schema version.
 */
import { textDigest } from '../encoding/text-digest.js';

/**
 * The value of an `@IfMatch()` parameter, for the option `ifMatch`. `'any'`: the row must exist
 * (`If-Match: *`). `'absent'`: it must not exist (`If-None-Match: *`), so that the write creates
 * it. `'none'`: no check, when the optional header is missing. A list: the row must have one of
 * these ETags, by strong comparison. An ETag of another row matches nothing, and an empty list
 * never matches.
 */
export class Precondition {
  readonly etags: readonly string[] | 'any' | 'absent' | 'none';

  constructor(etags: Precondition['etags']) {
    this.etags = typeof etags === 'string' ? etags : Object.freeze([...etags]);
    Object.defineProperty(this, brand, { value: true });
    Object.freeze(this);
  }
}

// a registered symbol, because the object may come from another copy of the package
const brand = Symbol.for('kvent.precondition');
export const isPrecondition = (value: unknown): value is Precondition =>
  typeof value === 'object' && value !== null && brand in value;

/** The ETag of a representation, without its quotes. `owner` identifies the represented object. */
export const etagOf = (version: string, owner: readonly string[], schemaVersion: number): string =>
  `${version}-${digestOf(owner)}-${schemaVersion}`;

/**
 * The version in an ETag, which is a version alone or the ETag of a representation. The schema
 * version is not compared: the caller has seen this version, whatever its representation.
 * `undefined` for a text that is not an ETag, `null` for the ETag of another owner.
 */
export function versionIn(etag: string, owner: readonly string[]): string | null | undefined {
  const [version, digest, schema, more] = etag.length > etagLengthMax ? [] : etag.split('-', 4);
  if (version === undefined || more !== undefined) return undefined;
  if (digest === undefined) return version;
  if (!/^[0-9a-z]{1,14}$/.test(digest) || schema === undefined || !/^[1-9][0-9]{0,15}$/.test(schema))
    return undefined;
  return digest === digestOf(owner) ? version : null;
}

/** No ETag is longer. */
const etagLengthMax = 64;

/** Against mistakes, not against forgery: an ETag gives no access. */
const digestOf = (owner: readonly string[]): string => textDigest(JSON.stringify(owner));
