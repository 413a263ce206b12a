/**
 * The lines of a journal. Each line but the first says up to which commit the journal was known to
 * be on disk when the line was written. That decides about a damaged line: a commit that was not
 * known to be on disk was never acknowledged.
 *
 * ```text
 * {"sum":"…","kvent":"journal","format":1,"database":"tenant:acme","generation":3,"after":119,"id":"5d0c…"}
 * {"sum":"…","number":121,"onDisk":120,"time":1763694000000,"sizes":[180],"rows":[{…}]}      a commit with its rows
 * {"sum":"…","onDisk":121}                                                                    a note of an idle owner
 * {"sum":"…","next":4,"onDisk":121}                                                           continued in journal 4
 * {"sum":"…","end":true,"onDisk":121}                                                         closed
 * ```
 *
 * A journal that grows is written ahead with blanks, which the next lines replace. So blanks
 * without a line feed at the end of a journal are no damage.
 */
import { crc32 } from 'node:zlib';
import type { StoredTime } from '../../../core/base/clock.js';
import type { RowEffect } from '../../../core/port/evaluate-batch.js';
import { readEffect } from './row-text.js';
import { isIntact, seal } from './sealed-line.js';

export const format = 1;

export interface JournalHeader {
  readonly format: number;
  readonly database: string;
  readonly generation: number;
  /** The last commit that was on disk when the journal was created. Snapshots have none. */
  readonly after?: number;
}

export type JournalLine =
  | {
      readonly kind: 'commit';
      readonly number: number;
      readonly onDisk: number;
      readonly time: number;
      /** The wall clock, if it was behind the time. */
      readonly wall?: number | undefined;
      readonly effects: readonly RowEffect[];
    }
  | { readonly kind: 'note'; readonly onDisk: number }
  | { readonly kind: 'next'; readonly onDisk: number; readonly generation: number }
  /** `ahead`: the time, if it is ahead of the wall clock. */
  | { readonly kind: 'end'; readonly onDisk: number; readonly ahead?: StoredTime | undefined };

/** The first line. `id` is random, so that remains of an older journal of this name do not fit. */
export const headerLine = (
  { database, generation, after }: Omit<Required<JournalHeader>, 'format'>,
  id: string,
): string =>
  seal(
    `"kvent":"journal","format":${format},"database":${JSON.stringify(database)},"generation":${generation},"after":${after},"id":"${id}"}`,
  );

/** The seed of the checksums of all other lines. */
export const seedOf = (header: string | Buffer): number => crc32(header);

/** A line without rows, before it is sealed; those of commits are `CommitLines`. */
export function lineBody(line: Exclude<JournalLine, { kind: 'commit' }>): string {
  switch (line.kind) {
    case 'note':
      return `"onDisk":${line.onDisk}}`;
    case 'next':
      return `"next":${line.generation},"onDisk":${line.onDisk}}`;
    case 'end':
      return `"end":true,"onDisk":${line.onDisk}${line.ahead === undefined ? '' : `,"time":${line.ahead.time}${wallOf(line.ahead)}`}}`;
  }
}

const blank = 0x20;

/** Whether these bytes are the blanks that a journal is written ahead with. */
export const isBlank = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === blank);

/** The property of a wall clock that is behind the time. */
export const wallOf = ({
  time,
  wall,
}: {
  readonly time: number;
  readonly wall?: number | undefined;
}): string => (wall === undefined || wall >= time ? '' : `,"wall":${wall}`);

/** The header in these bytes; `undefined` if they are damaged. */
export function readHeaderLine(bytes: Buffer): JournalHeader | undefined {
  if (!isIntact(bytes)) return undefined;
  try {
    const header = JSON.parse(bytes.toString()) as JournalHeader & { readonly kvent?: string };
    return header.kvent === 'journal' ? header : undefined;
  } catch {
    return undefined;
  }
}

interface Written {
  readonly number?: number;
  readonly onDisk: number;
  readonly time: number;
  readonly wall?: number;
  readonly sizes: readonly number[];
  readonly next?: number;
  readonly end?: true;
}

const rowsAt = Buffer.from(',"rows":[');

/**
 * The line in these bytes; `undefined` if they are damaged. Without a seed the sum is not checked.
 */
export function readJournalLine(bytes: Buffer, seed: number | undefined): JournalLine | undefined {
  if (seed !== undefined && !isIntact(bytes, seed)) return undefined;
  try {
    const at = bytes.indexOf(rowsAt);
    const written = JSON.parse(at < 0 ? bytes.toString() : `${bytes.toString('utf8', 0, at)}}`) as Written;
    const { number, onDisk, time, wall, sizes, next, end } = written;
    if (!Number.isSafeInteger(onDisk)) return undefined;
    if (number !== undefined && !(Number.isSafeInteger(number) && Number.isFinite(time))) return undefined;
    if (number !== undefined)
      return {
        kind: 'commit',
        number,
        onDisk,
        time,
        ...(wall === undefined ? {} : { wall }),
        effects: readRows(bytes, at + rowsAt.length, sizes),
      };
    if (next !== undefined) return { kind: 'next', onDisk, generation: next };
    if (end !== true) return { kind: 'note', onDisk };
    return { kind: 'end', onDisk, ...(wall === undefined ? {} : { ahead: { time, wall } }) };
  } catch {
    return undefined;
  }
}

function readRows(bytes: Buffer, from: number, sizes: readonly number[]): readonly RowEffect[] {
  let start = from;
  return sizes.map((size) => {
    const row = readEffect(bytes.subarray(start, start + size));
    start += size + 1;
    return row;
  });
}
