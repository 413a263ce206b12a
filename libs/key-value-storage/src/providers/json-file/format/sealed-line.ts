/**
 * Lines with a checksum: `{"sum":"1a2b3c4d", …}`, where the sum is the CRC-32 of everything after
 * it. A line is one JSON object. JSON strings contain no raw line feed, so a line feed always ends
 * a line. A seed binds a line to its file: a misplaced line of another file does not fit.
 */
import { crc32 } from 'node:zlib';

const opening = '{"sum":"';
const sumDigits = 8;
/** Where the summed bytes start: after the quote and the comma of the sum. */
const bodyAt = opening.length + sumDigits + 2;

export const hex = (sum: number): string => sum.toString(16).padStart(sumDigits, '0');

/** `body`: an object with at least one property, without its opening brace. */
export const seal = (body: string, seed = 0): string => `${opening}${hex(crc32(body, seed))}",${body}`;

const hexDigits = Buffer.from('0123456789abcdef');

/** The start of a line that `sealAt` completes. */
export const unsealed = `${opening}${'0'.repeat(sumDigits)}",`;

/** Writes the sum of a line that begins with `unsealed` and ends before `end`. */
export function sealAt(bytes: Buffer, start: number, end: number, seed = 0): void {
  let sum = crc32(bytes.subarray(start + bodyAt, end), seed);
  for (let at = start + opening.length + sumDigits - 1; at >= start + opening.length; at -= 1) {
    bytes[at] = hexDigits[sum & 0xf] as number;
    sum >>>= 4;
  }
}

/**
 * What may precede an object in a JSON document: a value may contain objects that look like lines.
 */
const beforeObjects = new Set([...':,[ \t'].map((character) => character.charCodeAt(0)));
/** How many objects in a document are checked; each check reads to the end of the line. */
const objectChecksMax = 32;

/**
 * The last intact line at the end of a damaged line: if the line feed between two lines is lost,
 * the second one is still intact. `undefined` if there is none.
 */
export function intactLineWithin(line: Buffer, seed: number): Buffer | undefined {
  let checks = 0;
  for (let at = line.lastIndexOf(opening); at > 0; at = line.lastIndexOf(opening, at - 1)) {
    if (beforeObjects.has(line[at - 1] as number) && (checks += 1) > objectChecksMax) continue;
    const inner = line.subarray(at);
    if (isIntact(inner, seed)) return inner;
  }
  return undefined;
}

/** Whether the checksum of a line fits. The line comes without its line feed. */
export function isIntact(line: Buffer, seed = 0): boolean {
  return (
    line.length > bodyAt &&
    line.toString('latin1', 0, bodyAt) === `${opening}${hex(crc32(line.subarray(bodyAt), seed))}",`
  );
}
