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
import { assertOptions, inspect, isPromise, outOfRange } from '@kvent/key-value-storage/internal';
import type { EventRange, Recorded } from '../definition/event-stream.js';
import { assertRequestedVersion, type AnyEvent } from '../definition/stream-definition.js';
import { headIn, readHead } from '../rows/head.js';
import { deletedError } from '../rows/stream-conflicts.js';
import type { StreamRows } from '../rows/stream-rows.js';
import { decodeRecorded } from './event-codec.js';
import { FlatIterator } from './flat-iterator.js';
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

/** Events are decoded in blocks: more would be decoded in vain for readers that stop early. */
const blockEvents = 64;

/** The events of a range, up to the version at which the reading began. `STREAM_DELETED`. */
export function readEvents(rows: StreamRows, range: Range): FlatIterator<Recorded<AnyEvent>> {
  return new FlatIterator(readBlocks(rows, range), () => throwIfAborted('read', range.signal));
}

async function* readBlocks(
  rows: StreamRows,
  range: Range,
): AsyncGenerator<readonly Recorded<AnyEvent>[], void, undefined> {
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
  const { head } = await countingPage(rows, first.rows, { head: headIn(rows.head, headRow) }, readTheHead);
  if (head.kind === 'deleted') throw deletedError(rows);
  let [low, high] = boundsOf(range, head.version);
  const next = (): number => (reverse ? high : low);
  let page = rowsFrom(rows, next(), first.rows);
  let pages: AsyncGenerator<ScanPage, void, undefined> | undefined;
  while (low <= high) {
    for (let index = 0; index < page.length && low <= high;) {
      const block = blockFrom(rows, page, index, { next: next(), last: reverse ? low : high, reverse });
      const { events } = block;
      if (reverse) high -= events.length;
      else low += events.length;
      index += events.length;
      // what ends the block comes behind its events
      if (events.length > 0) yield events;
      if (block.missing) await throwMissing(rows, next(), signal);
      if ('error' in block) throw block.error;
      if (block.later === undefined) continue;
      yield [await block.later];
      if (reverse) high -= 1;
      else low += 1;
      index += 1;
    }
    if (low > high) return;
    pages ??= access.scanPages(scanRange(low, high), { signal });
    const following = await pages.next();
    if (following.done === true) return await throwMissing(rows, next(), signal);
    page = following.value.rows;
  }
}

/** The first version of a block, and the last that it may have. */
interface BlockBounds {
  readonly next: number;
  readonly last: number;
  readonly reverse: boolean;
}

/** Decoded events, and why there are no more: the page or the block is full, or one of these. */
interface EventBlock {
  readonly events: readonly Recorded<AnyEvent>[];
  /** The next row is not the next event. */
  readonly missing?: boolean;
  /** The next event cannot be read. */
  readonly error?: unknown;
  /** The next event, which its schema validates asynchronously. */
  readonly later?: Promise<Recorded<AnyEvent>>;
}

function blockFrom(
  rows: StreamRows,
  page: readonly ScannedRow[],
  from: number,
  { next, last, reverse }: BlockBounds,
): EventBlock {
  const step = reverse ? -1 : 1;
  const count = Math.min(blockEvents, page.length - from, Math.abs(last - next) + 1);
  const events: Recorded<AnyEvent>[] = [];
  for (let version = next; events.length < count; version += step) {
    const scanned = page[from + events.length] as ScannedRow;
    try {
      if (versionIn(rows, scanned, version) !== version) return { events, missing: true };
      const event = decodeRecorded(rows, version, scanned.row);
      if (isPromise(event)) return { events, later: event };
      events.push(event);
    } catch (error) {
      return { events, error };
    }
  }
  return { events };
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
