/**
 * The name of a database as the name of its directory: readable, and unique also on file systems
 * that fold case, that reserve device names or that drop trailing dots. `tenant:acme` becomes
 * `tenant.acme`.
 *
 * - a-z, 0-9, `_` and `-` stay. `:` becomes `.`, except at either end. Every other byte of UTF-8
 *   becomes `%` and two hex digits.
 * - A name that is a device on Windows, up to its first dot, starts with an escaped letter.
 * - A name of more than 200 characters becomes `~` and base32: at most 206 for the 128 bytes that a
 *   database may have.
 *
 * So no name starts with a dot: names with a dot are files of the store itself.
 */
import { invalidOption } from '../../../core/base/options.js';

const plainMax = 200;
const loneSurrogate = /\p{Surrogate}/u;
const device = /^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)/;
const base32 = 'abcdefghijklmnopqrstuvwxyz234567';

export function directoryOf(database: string): string {
  if (database === '' || loneSurrogate.test(database))
    throw invalidOption(
      `The name of a database must not be empty or contain a lone surrogate; got '${database}'.`,
    );
  const plain = encodePlain(database);
  return plain.length > plainMax ? `~${encodeBase32(Buffer.from(database))}` : plain;
}

/** The database of a directory; `undefined` if it is not one. */
export function databaseOf(directory: string): string | undefined {
  const database = directory.startsWith('~') ? decodeBase32(directory.slice(1)) : decodePlain(directory);
  const same =
    database !== undefined &&
    database !== '' &&
    !loneSurrogate.test(database) &&
    directoryOf(database) === directory;
  return same ? database : undefined;
}

function encodePlain(database: string): string {
  const last = database.length - 1;
  const encoded = database.replace(/[^a-z0-9_-]/gu, (character, at: number) =>
    character === ':' && at > 0 && at < last ? '.' : percent(character),
  );
  return device.test(encoded) ? percent(encoded.charAt(0)) + encoded.slice(1) : encoded;
}

const percent = (character: string): string =>
  [...Buffer.from(character)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');

function decodePlain(directory: string): string | undefined {
  try {
    return decodeURIComponent(directory.replaceAll('.', ':'));
  } catch {
    return undefined;
  }
}

function encodeBase32(bytes: Buffer): string {
  let encoded = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) encoded += base32.charAt((value >>> (bits - 5)) & 31);
    value &= 31;
  }
  return bits === 0 ? encoded : encoded + base32.charAt((value << (5 - bits)) & 31);
}

function decodeBase32(text: string): string | undefined {
  const bytes: number[] = [];
  let bits = 0;
  let value = 0;
  for (const character of text) {
    const digit = base32.indexOf(character);
    if (digit < 0) return undefined;
    value = ((value & 255) << 5) | digit;
    bits += 5;
    if (bits >= 8) bytes.push((value >>> (bits -= 8)) & 255);
  }
  return Buffer.from(bytes).toString();
}
