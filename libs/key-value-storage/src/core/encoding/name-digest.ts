import { isSha256Synchronous, sha256 } from './sha256.js';
import { textDigest } from './text-digest.js';

/**
 * A digest of a name, at once: 128 bits of its SHA-256 in hex, so that no two names are found whose
 * digests are equal. Where SHA-256 takes a promise, 64 bits that do not resist forgery.
 */
export const nameDigest = (name: string): string =>
  isSha256Synchronous ? (sha256(name) as string).slice(0, 32) : textDigest(name);
