/**
 * Keys in arguments and in output. A text is written as it is. A key of parts is a JSON array, with
 * the tags of values: `["user",42]`, `["order",{"$bigint":"7"}]`. A text that would be read as such
 * an array is written as a JSON string.
 */
import {
  decodeKey,
  encodeKey,
  encodeRange,
  encodeValue,
  inspect,
  reviveFrozen,
  type Key,
} from '@kvent/key-value-storage/internal/rows';
import { fromArgument, UsageError } from './usage-error.js';

/** The encoded key of an argument; `UsageError` for what is no key. */
export const encodedKeyFrom = (text: string): string =>
  fromArgument('The key', () => encodeKey(keyFrom(text)));

/** The bounds of the keys that begin with a prefix. */
export const rangeFrom = (prefix: string | undefined): ReturnType<typeof encodeRange> =>
  fromArgument('--prefix', () => encodeRange(prefix === undefined ? {} : { prefix: keyFrom(prefix) }));

/** The key of a text, not checked; `UsageError` for a part that cannot be read. */
export function keyFrom(text: string): Key {
  if (!/^\s*[["]/.test(text)) return text;
  const json = parsed(text);
  if (typeof json === 'string') return json;
  if (!Array.isArray(json)) return text;
  try {
    return reviveFrozen(json, true).value as Key;
  } catch (error) {
    throw new UsageError(`The key ${inspect(text)} has a part that cannot be read.`, error);
  }
}

/** A key as JSON: a string, or an array of parts. */
export function keyJson(encoded: string): unknown {
  const key = decodeKey(encoded);
  return typeof key === 'object'
    ? JSON.parse(encodeValue(key, () => 'the key', { schemaVersion: 1 }).text)
    : key;
}

/** A key as an argument takes it. */
export function keyText(encoded: string): string {
  const json = keyJson(encoded);
  if (typeof json !== 'string') return JSON.stringify(json);
  return keyFrom(json) === json && !/^\s*"/.test(json) ? json : JSON.stringify(json);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
