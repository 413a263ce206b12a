/**
 * Reading a stream's events, page by page: a slice touches only its rows, and memory stays flat.
 */
import type { CallOptions } from '@kvent/key-value-storage/core';
import { invalidOption, throwIfAborted, type ScannedRow } from '@kvent/key-value-storage/provider';
import { assertOptions, inspect, outOfRange } from '@kvent/key-value-storage/internal';
import { decodeEvent } from './event-codec.js';
import type { EventRange, Recorded } from '../definition/event-stream.js';
import { headIn, type Head } from '../rows/head.js';
import { assertDeleted, eventRange, versionIn } from './load-stream.js';
import { deletedError } from '../rows/stream-conflicts.js';
import type { AnyEvent } from '../definition/stream-definition.js';
import { assertAskedVersion } from '../definition/stream-definition.js';
import type { StreamRows } from '../rows/stream-rows.js';

type Range = EventRange & CallOptions;
/** Events of one page. */
const pageEvents = 200;

/**
 * `OUT_OF_RANGE` for a range that begins behind its end, or holds no version; `INVALID_OPTION` for
 * what is no range.
 */
export function assertEventRange(range: Range): void {
  assertOptions('read', range, ['from', 'to', 'reverse', 'limit', 'signal']);
  for (const name of ['from', 'to', 'limit'] as const)
    if (range[name] !== undefined) assertAskedVersion('read', name, range[name]);
  if (range.reverse !== undefined && typeof range.reverse !== 'boolean')
    throw invalidOption(`read: reverse is true or false; given was ${inspect(range.reverse)}.`);
  if (range.from !== undefined && range.to !== undefined && range.from > range.to)
    throw outOfRange(`read: the slice starts after its end: from ${range.from}, to ${range.to}.`);
}

/** The events of a slice, up to where the stream was when it was asked. `STREAM_DELETED`. */
export async function* readEvents(rows: StreamRows, range: Range): AsyncGenerator<Recorded<AnyEvent>> {
  const { from = 1, to, reverse = false, limit = Number.POSITIVE_INFINITY, signal } = range;
  throwIfAborted('read', signal);
  let left = limit;
  const scan = async (low: number, high: number | undefined): Promise<readonly ScannedRow[]> => {
    const asked = { ...eventRange(rows, low, high), reverse, limit: Math.min(left, pageEvents) };
    const [page] = await rows.access.scan([asked], { signal });
    return page.rows;
  };
  const [head, first] = await Promise.all([lookAtHead(rows, signal), scan(from, to)]);
  if (head.kind === 'deleted') throw deletedError(rows);
  let [low, high] = [from, Math.min(to ?? head.version, head.version)];
  // what came after the head was read is not part of it
  const eventsOf = (page: readonly ScannedRow[]) =>
    page
      .map((row) => ({ row, version: versionIn(rows, row) }))
      .filter(({ version }) => version >= low && version <= high);
  const next = (): number => (reverse ? high : low);
  let events = eventsOf(first);
  // the first page may be older than the head
  if (events[0]?.version !== next()) events = [];
  while (low <= high && left > 0) {
    if (events.length === 0) events = eventsOf(await scan(low, high));
    if (events.length === 0) await assertGone(rows, next(), signal);
    for (const { row, version } of events) {
      if (version !== next()) await assertGone(rows, next(), signal);
      throwIfAborted('read', signal);
      yield await decodeEvent(rows, version, row.row);
      left -= 1;
      if (reverse) high -= 1;
      else low += 1;
    }
    events = [];
  }
}

/** An event is missing: the stream was deleted while it was read, or is damaged. */
async function assertGone(
  rows: StreamRows,
  version: number,
  signal: AbortSignal | undefined,
): Promise<never> {
  await assertDeleted(rows, version, signal);
  throw deletedError(rows);
}

async function lookAtHead(rows: StreamRows, signal: AbortSignal | undefined): Promise<Head> {
  const { row } = await rows.access.readOne(rows.head, { signal });
  return headIn(rows.head, row);
}

/** All events of a slice. */
export async function allEvents(rows: StreamRows, range: Range): Promise<readonly Recorded<AnyEvent>[]> {
  const events: Recorded<AnyEvent>[] = [];
  for await (const event of readEvents(rows, range)) events.push(event);
  return events;
}
