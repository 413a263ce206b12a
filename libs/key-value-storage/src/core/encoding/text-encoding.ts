/**
 * Any string as a text that every engine keeps apart and orders alike: without NUL and lone
 * surrogates, and so that JavaScript's `<` (UTF-16), UTF-8 and Postgres' `COLLATE "C"` agree on
 * code point order.
 *
 * - Below U+0023: `"` and two hex digits. So `!` (U+0021) is free to separate the parts of a key,
 *   and sorts before any text.
 * - U+0023 to U+D7FE: as it is. Ordinary keys stay readable.
 * - U+D7FF to U+FFFF, lone surrogates included: U+D7FF and four hex digits. UTF-16 would sort
 *   U+E000 and above after the surrogate pairs.
 * - From U+10000: U+D7FF and the character itself, which sorts after any hex digit.
 *
 * Each character's code is no prefix of another's: so encoding is injective, and a text begins with
 * another exactly when its encoding does.
 */
const escapeLow = '"';
const escapeHigh = '\uD7FF';
/** Sorts after every encoded character: the end of a prefix. */
export const afterEveryCharacter = '\uE000';

const needsEscape = /[\u0000-\u0022\uD7FF-\uFFFF]/;

export function encodeText(text: string): string {
  if (!needsEscape.test(text)) return text;
  let encoded = '';
  for (const character of text) encoded += encodeCharacter(character, character.codePointAt(0) as number);
  return encoded;
}

/**
 * Made once: a text of 400,000 blanks, which is refused for its length, costs a sixth of the time.
 */
const lowCodes = Array.from({ length: 0x23 }, (_, code) => escapeLow + code.toString(16).padStart(2, '0'));

function encodeCharacter(character: string, code: number): string {
  if (code < 0x23) return lowCodes[code] as string;
  if (code < 0xd7ff) return character;
  if (code <= 0xffff) return escapeHigh + code.toString(16).padStart(4, '0');
  return escapeHigh + character;
}

/** The text of an encoding, `undefined` if it is none. */
export function decodeText(encoded: string): string | undefined {
  if (!needsEscape.test(encoded)) return encoded;
  const text = encoded.replace(
    /"([0-9a-f]{2})|\uD7FF(?:([0-9a-f]{4})|([\u{10000}-\u{10FFFF}]))/gu,
    (_, low?: string, high?: string, astral?: string) =>
      astral ?? String.fromCharCode(parseInt(low ?? (high as string), 16)),
  );
  return encodeText(text) === encoded ? text : undefined;
}
