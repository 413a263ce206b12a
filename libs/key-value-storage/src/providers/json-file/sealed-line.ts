/**
 * Lines that say whether they are whole: `{"sum":"1a2b3c4d", …}`, where the sum is the CRC-32 of everything behind it. A line is one JSON
 * object; strings in JSON hold no raw line feed, so a line feed always ends a line.
 */
import { crc32 } from 'node:zlib';

const opening = '{"sum":"';
const sumDigits = 8;
/** Where the summed bytes begin: after the sum's own quote and comma. */
const bodyAt = opening.length + sumDigits + 2;

export const hex = (sum: number): string => sum.toString(16).padStart(sumDigits, '0');

/** `body` begins with `{` and has at least one property. `tail` ends the line and is not summed. */
export function seal(body: string, tail = '\n'): Buffer {
  const bytes = Buffer.from(`${opening}00000000",${body.slice(1)}${tail}`);
  bytes.write(hex(crc32(bytes.subarray(bodyAt, bytes.length - tail.length))), opening.length, 'latin1');
  return bytes;
}

/** Whether a line, without its line feed, is whole. */
export function isWhole(line: Buffer): boolean {
  if (line.length <= bodyAt || line.toString('latin1', 0, opening.length) !== opening) return false;
  return line.toString('latin1', opening.length, opening.length + sumDigits) === hex(crc32(line.subarray(bodyAt)));
}
