/**
 * Keys: a string, or an array of parts. Their text encoding (law 7) is injective, keeps the order,
 * and stays readable for ordinary keys:
 *
 * - `'mug'` → `mug`; `['user', 42]` → `!tuser!nb42`. `!` sorts before every text, so keys of parts
 *   come before text keys, and a key comes before its own extensions.
 * - Each part begins with a letter for its type, in the order bytes `b` < bigint `i` < number `n` <
 *   text `t` < false `zf` < true `zt`.
 * - Bytes are hex. Numbers are sign, size, digits: see `encodeDecimal`.
 */
import { assertWithin } from '../base/assert-limits.js';
import { storageError } from '../base/errors.js';
import { inspect, toHex } from '../base/inspect.js';
import type { Key, KeyPart, KeyRange } from '../base/key.js';
import { isBytes } from '../base/kinds.js';
import { afterEveryCharacter, decodeText, encodeText } from './text-encoding.js';

const separator = '!';
/** The first character after the separator: the end of everything below a key of parts. */
const afterSeparator = '"';

/** The row key of a key; `INVALID_KEY` for an invalid key, `LIMIT_EXCEEDED` above `keyBytesMax`. */
export function encodeKey(key: Key): string {
  const encoded = encodeAny(key);
  if (encoded === '') throw invalidKey('the empty string');
  assertWithin('keyBytesMax', encoded, 'key');
  return encoded;
}

function encodeAny(key: Key): string {
  if (typeof key === 'string') return encodeText(key);
  if (!Array.isArray(key)) throw invalidKey(inspect(key));
  if (key.length === 0) throw invalidKey('an empty array');
  let encoded = '';
  for (let index = 0; index < key.length; index += 1)
    encoded += separator + encodePart(key[index] as KeyPart, index);
  return encoded;
}

function encodePart(part: KeyPart, index: number): string {
  switch (typeof part) {
    case 'string':
      return 't' + encodeText(part);
    case 'number':
      if (Number.isNaN(part)) throw invalidKey(`NaN as part ${index}`);
      return 'n' + encodeNumber(part);
    case 'bigint':
      return 'i' + encodeDecimal(part < 0n, (part < 0n ? -part : part).toString(), undefined);
    case 'boolean':
      return part ? 'zt' : 'zf';
    default:
      if (isBytes(part)) return 'b' + toHex(part);
      throw invalidKey(`${inspect(part)} as part ${index}`);
  }
}

function encodeNumber(number: number): string {
  // fast path, a fifth of the time: every event has such a number as its key
  if (number > 0 && Number.isSafeInteger(number)) {
    const digits = number.toString();
    return `1${sizeCode(digits.length)}${digits}`;
  }
  if (!Number.isFinite(number)) return number > 0 ? `1z` : `-${mirror('z')}~`;
  const [mantissa = '0', exponent = '0'] = Math.abs(number).toExponential().split('e');
  return encodeDecimal(number < 0, mantissa.replace('.', ''), Number(exponent) + 1);
}

/**
 * A decimal number 0.d₁d₂… × 10^size, so that texts sort as the numbers do. The sign: `-` < `0` <
 * `1`. The size, for the usual 1 to 21 digits before the point a letter `b` to `v`; below one `a`,
 * above `w`, with four digits. The digits, padded to the size, so that 1000 reads `1e1000`'s way:
 * `1e` + `1000`. Negative numbers turn every character round and end with `~`, so that longer ones
 * sort first.
 */
function encodeDecimal(negative: boolean, digits: string, givenSize: number | undefined): string {
  if (/^0*$/.test(digits)) return '0';
  const size = givenSize ?? digits.length;
  const body = sizeCode(size) + (size >= 1 && size <= 21 ? digits.padEnd(size, '0') : digits);
  return negative ? `-${mirror(body)}~` : `1${body}`;
}

function sizeCode(size: number): string {
  if (size >= 1 && size <= 21) return String.fromCharCode(97 + size);
  return size < 1 ? `a${(5_000 + size).toString()}` : `w${size.toString().padStart(4, '0')}`;
}

/** a ↔ z, 0 ↔ 9: turns the order of two codes round. */
function mirror(text: string): string {
  return text.replace(/[a-z0-9]/g, (character) => {
    const code = character.charCodeAt(0);
    return String.fromCharCode(code >= 97 ? 219 - code : 105 - code);
  });
}

/** The key that was encoded; `undefined` if the text is no encoding of a key. */
export function decodeKey(encoded: string): Key | undefined {
  if (!encoded.startsWith(separator)) return encoded === '' ? undefined : decodeText(encoded);
  const parts: KeyPart[] = [];
  for (const code of encoded.slice(1).split(separator)) {
    const part = decodePart(code);
    if (part === undefined) return undefined;
    parts.push(part);
  }
  return parts;
}

function decodePart(code: string): KeyPart | undefined {
  const body = code.slice(1);
  switch (code[0]) {
    case 't':
      return decodeText(body);
    case 'n':
    case 'i':
      return decodeExactly(code, code[0] === 'n' ? decodeNumber(body) : decodeBigint(body));
    case 'z':
      return body === 't' ? true : body === 'f' ? false : undefined;
    case 'b':
      return /^([0-9a-f]{2})*$/.test(body) ? fromHex(body) : undefined;
    default:
      return undefined;
  }
}

/** The number, if this is how it is encoded: one number has one code. */
function decodeExactly(code: string, number: number | bigint | undefined): number | bigint | undefined {
  return number !== undefined && !Number.isNaN(number) && encodePart(number, 0) === code ? number : undefined;
}

function decodeNumber(body: string): number | undefined {
  if (body === '0') return 0;
  const { sign, size, digits } = splitDecimal(body);
  if (size === 'z') return sign * Number.POSITIVE_INFINITY;
  return digits === '' ? undefined : sign * Number(`0.${digits}e${size}`);
}

function decodeBigint(body: string): bigint | undefined {
  if (body === '0') return 0n;
  const { sign, digits } = splitDecimal(body);
  return /^[0-9]+$/.test(digits) ? BigInt(sign) * BigInt(digits) : undefined;
}

function splitDecimal(body: string): { sign: 1 | -1; size: number | 'z'; digits: string } {
  const sign = body.startsWith('-') ? -1 : 1;
  const code = sign < 0 ? mirror(body.slice(1, -1)) : body.slice(1);
  const letter = code.charAt(0);
  if (letter === 'z') return { sign, size: 'z', digits: '' };
  if (letter !== 'a' && letter !== 'w')
    return { sign, size: letter.charCodeAt(0) - 97, digits: code.slice(1) };
  const size = Number(code.slice(1, 5));
  return { sign, size: letter === 'a' ? size - 5_000 : size, digits: code.slice(5) };
}

const fromHex = (hex: string): Uint8Array =>
  Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));

// ─── ranges

/**
 * The encoded bounds of a range. Bounds outside the prefix, and a start after the end, are
 * `OUT_OF_RANGE`; start = end is an empty range.
 */
export function encodeRange(range: KeyRange): { readonly start?: string; readonly end?: string } {
  const within = range.prefix === undefined ? {} : prefixBounds(range.prefix);
  const start = range.start === undefined ? within.start : encodeBound('start', range.start, within);
  const end = range.end === undefined ? within.end : encodeBound('end', range.end, within);
  if (start !== undefined && end !== undefined && start > end) {
    throw storageError(
      'OUT_OF_RANGE',
      `A range starts after its end: start ${inspect(range.start)}, end ${inspect(range.end)}.`,
      {},
    );
  }
  return { ...(start === undefined ? {} : { start }), ...(end === undefined ? {} : { end }) };
}

function prefixBounds(prefix: Key): { readonly start?: string; readonly end?: string } {
  if (typeof prefix !== 'string') {
    if (Array.isArray(prefix) && prefix.length === 0) return {};
    const encoded = encodeAny(prefix);
    assertWithin('keyBytesMax', encoded, 'prefix');
    return { start: encoded + separator, end: encoded + afterSeparator };
  }
  const encoded = encodeText(prefix);
  assertWithin('keyBytesMax', encoded, 'prefix');
  // text keys begin after '!', so the empty prefix names all of them and no key of parts
  return { start: encoded === '' ? afterSeparator : encoded, end: encoded + afterEveryCharacter };
}

function encodeBound(
  name: 'start' | 'end',
  key: Key,
  within: { readonly start?: string; readonly end?: string },
): string {
  const encoded = encodeKey(key);
  if (
    (within.start !== undefined && encoded < within.start) ||
    (within.end !== undefined && encoded >= within.end)
  ) {
    throw storageError('OUT_OF_RANGE', `A range's ${name} ${inspect(key)} is not below its prefix.`, {});
  }
  return encoded;
}

const invalidKey = (given: string) =>
  storageError(
    'INVALID_KEY',
    `A key is a non-empty string, or a non-empty array of strings, numbers (not NaN), bigints, booleans and Uint8Arrays; got ${given}.`,
    {},
  );
