/**
 * ETags as HTTP sends them, and preconditions that carry several of them. `entry.etag` is the
 * version alone; the ETag of a representation also holds whose it is and in which shape:
 * `<version>-<digest>-<schema version>`. Versions of two rows may be equal (rows of one batch share
 * theirs, streams count from 1), and one version has another representation under another schema.
 */
import { textDigest } from '../encoding/text-digest.js';

/**
 * What `@IfMatch()` gives; hand it on as `ifMatch`. `'any'`: whatever is there, but something
 * (`If-Match: *`). `'none'`: no check, where the header may be missing. A list: one of these ETags,
 * compared strongly; ETags that are not of this row match nothing, and an empty list never holds.
 */
export class Precondition {
  readonly etags: readonly string[] | 'any' | 'none';

  constructor(etags: Precondition['etags']) {
    this.etags = typeof etags === 'string' ? etags : Object.freeze([...etags]);
    Object.defineProperty(this, brand, { value: true });
    Object.freeze(this);
  }
}

// another copy of the package may have made it
const brand = Symbol.for('kvent.precondition');
export const isPrecondition = (given: unknown): given is Precondition =>
  typeof given === 'object' && given !== null && brand in given;

/**
 * The ETag of a representation, without its quotes. `owner`: what tells it from every other one, in
 * order.
 */
export const etagOf = (version: string, owner: readonly string[], schemaVersion: number): string =>
  `${version}-${digestOf(owner)}-${schemaVersion}`;

/**
 * The version in an ETag: of the version alone, or of a representation. The schema version is not
 * compared: who changes something has seen this version of it, in whatever shape. `undefined` for
 * what is no ETag, `null` for the ETag of another owner.
 */
export function versionIn(etag: string, owner: readonly string[]): string | null | undefined {
  const [version, digest, schema, more] = etag.length > etagLengthMax ? [] : etag.split('-', 4);
  if (version === undefined || more !== undefined) return undefined;
  if (digest === undefined) return version;
  if (!/^[0-9a-z]{1,14}$/.test(digest) || schema === undefined || !/^[1-9][0-9]{0,15}$/.test(schema))
    return undefined;
  return digest === digestOf(owner) ? version : null;
}

/** Longer than any ETag of ours. */
const etagLengthMax = 64;

/** Against mistakes, not against forgery: an ETag opens nothing. */
const digestOf = (owner: readonly string[]): string => textDigest(JSON.stringify(owner));
