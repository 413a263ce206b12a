/**
 * Reads the events of a stream page by page: a range reads only its rows, and memory stays
 * constant.
 */
import type { CallOptions } from '@kvent/key-value-storage/core';
import {
  invalidOption,
  throwIfAborted,
  type ScannedRow,
  type ScanPage,
  type ScanRange,
} from '@kvent/key-value-storage/provider';
import { assertOptions, inspect, outOfRange } from '@kvent/key-value-storage/internal';
import type { EventRange, Recorded } from '../definition/event-stream.js';
import { assertRequestedVersion, type AnyEvent } from '../definition/stream-definition.js';
import { headIn, readHead } from '../rows/head.js';
import { deletedError } from '../rows/stream-conflicts.js';
import type { StreamRows } from '../rows/stream-rows.js';
import { decodeRecorded } from './event-codec.js';
import { assertDeleted, countingPage, eventRange, pageEvents, versionIn } from './event-rows.js';

type Range = EventRange & CallOptions;

/**
 * `OUT_OF_RANGE` for a number that is no version, and for a range that starts after its end;
 * `INVALID_OPTION` for other types.
 */
export function assertEventRange(range: Range): void {
  assertOptions('read', range, ['from', 'to', 'reverse', 'limit', 'signal']);
  for (const name of ['from', 'to', 'limit'] as const)
    if (range[name] !== undefined) assertRequestedVersion('read', name, range[name]);
  if (range.reverse !== undefined && typeof range.reverse !== 'boolean')
    throw invalidOption(`read: reverse must be true or false; got ${inspect(range.reverse)}.`);
  if (range.from !== undefined && range.to !== undefined && range.from > range.to)
    throw outOfRange(`read: from must not be greater than to; got from ${range.from} to ${range.to}.`);
}

/** The events of a range, up to the version at which the reading began. `STREAM_DELETED`. */
export async function* readEvents(rows: StreamRows, range: Range): AsyncGenerator<Recorded<AnyEvent>> {
  const { from = 1, to, reverse = false, limit = Number.POSITIVE_INFINITY, signal } = range;
  throwIfAborted('read', signal);
  const { access } = rows;
  const scanRange = (low: number, high: number | undefined): ScanRange => ({
    ...eventRange(rows, low, high, Math.min(limit, pageEvents)),
    reverse,
  });
  const readTheHead = async () => ({ head: await readHead(rows, signal) });
  const {
    read: {
      rows: [headRow],
    },
    pages: [first],
  } = await access.readWithScan([rows.head], [scanRange(from, to)], { signal });
  const read = { head: headIn(rows.head, headRow) };
  const { head } = await countingPage(rows, first.rows, read, readTheHead);
  if (head.kind === 'deleted') throw deletedError(rows);
  let [low, high] = boundsOf(range, head.version);
  const next = (): number => (reverse ? high : low);
  let page = rowsFrom(rows, next(), first.rows);
  let pages: AsyncGenerator<ScanPage, void, undefined> | undefined;
  while (low <= high) {
    for (const scanned of page) {
      const version = next();
      if (versionIn(rows, scanned, version) !== version) await throwMissing(rows, version, signal);
      throwIfAborted('read', signal);
      yield decodeRecorded(rows, version, scanned.row);
      if (reverse) high -= 1;
      else low += 1;
      if (low > high) return;
    }
    pages ??= access.scanPages(scanRange(low, high), { signal });
    const following = await pages.next();
    if (following.done === true) return await throwMissing(rows, next(), signal);
    page = following.value.rows;
  }
}

/**
 * The first and the last version to read. Versions are consecutive, so a limit is a bound as well.
 */
function boundsOf(
  { from = 1, to = Number.POSITIVE_INFINITY, reverse, limit = Number.POSITIVE_INFINITY }: Range,
  version: number,
): [number, number] {
  const last = Math.min(to, version);
  return reverse === true
    ? [Math.max(from, last - limit + 1), last]
    : [from, Math.min(last, from + limit - 1)];
}

/**
 * The rows of a first page from a version on. None where it was read before the head and does not
 * have that version; before it are events that are newer than the head.
 */
function rowsFrom(rows: StreamRows, version: number, scanned: readonly ScannedRow[]): readonly ScannedRow[] {
  const index = scanned.findIndex((row) => versionIn(rows, row, version) === version);
  return index === -1 ? [] : scanned.slice(index);
}

/** An event is missing: the stream was deleted since, or is damaged. */
async function throwMissing(
  rows: StreamRows,
  version: number,
  signal: AbortSignal | undefined,
): Promise<never> {
  await assertDeleted(rows, version, signal);
  throw deletedError(rows);
}

export async function readAllEvents(rows: StreamRows, range: Range): Promise<readonly Recorded<AnyEvent>[]> {
  const events: Recorded<AnyEvent>[] = [];
  for await (const event of readEvents(rows, range)) events.push(event);
  return events;
}
