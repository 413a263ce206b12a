/**
 * Lines that say whether they are whole: `{"sum":"1a2b3c4d", …}`, where the sum is the CRC-32 of
 * everything behind it. A line is one JSON object; strings in JSON hold no raw line feed, so a line
 * feed always ends a line. A seed binds a line to its file: a line of another file that a disk left
 * in the wrong place is no line of this one.
 */
import { crc32 } from 'node:zlib';

const opening = '{"sum":"';
const sumDigits = 8;
/** Where the summed bytes begin: after the sum's own quote and comma. */
const bodyAt = opening.length + sumDigits + 2;

export const hex = (sum: number): string => sum.toString(16).padStart(sumDigits, '0');

/** `body`: an object with at least one property, without its opening brace. */
export const seal = (body: string, seed = 0): string => `${opening}${hex(crc32(body, seed))}",${body}`;

/**
 * What stands before an object inside a JSON document: the value of a row may hold objects that
 * look like sealed lines.
 */
const beforeObjects = new Set([...':,[ \t'].map((character) => character.charCodeAt(0)));
/** How many objects of a document are looked at; each look reads to the end of the line. */
const objectLooksMax = 32;

/**
 * The last whole line that a damaged line holds at its end: where the line feed between two lines
 * is lost, the second one is still intact. `undefined` if there is none.
 */
export function wholeLineWithin(line: Buffer, seed: number): Buffer | undefined {
  let looks = 0;
  for (let at = line.lastIndexOf(opening); at > 0; at = line.lastIndexOf(opening, at - 1)) {
    if (beforeObjects.has(line[at - 1] as number) && (looks += 1) > objectLooksMax) continue;
    const inner = line.subarray(at);
    if (isWhole(inner, seed)) return inner;
  }
  return undefined;
}

/** Whether a line, without its line feed, is whole. */
export function isWhole(line: Buffer, seed = 0): boolean {
  return (
    line.length > bodyAt &&
    line.toString('latin1', 0, bodyAt) === `${opening}${hex(crc32(line.subarray(bodyAt), seed))}",`
  );
}
