/**
 * Text for messages, log lines and terminals. Control characters end lines, move the cursor and
 * change colours; bidirectional controls and lone surrogates change what is shown. Each of them is
 * written as an escape.
 */

/**
 * C0 and C1 controls, DEL, soft and zero-width marks of direction, line and paragraph separators,
 * bidirectional embeddings and isolates, the byte order mark, lone surrogates.
 */
const unprintable =
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\p{Surrogate}]/gu;
const short: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

const escapeCharacter = (character: string): string =>
  short[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/**
 * The text with every unprintable character escaped; inside JSON strings it stays the same JSON.
 */
export function printable(text: string): string {
  return text.replace(unprintable, escapeCharacter);
}
