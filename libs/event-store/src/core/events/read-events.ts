/**
 * Reads the events of a stream page by page: a range reads only its rows, and memory stays
 * constant.
 */
import type { CallOptions } from '@kvent/key-value-storage/core';
import { invalidOption, throwIfAborted, type ScannedRow } from '@kvent/key-value-storage/provider';
import { assertOptions, inspect, outOfRange } from '@kvent/key-value-storage/internal';
import type { EventRange, Recorded } from '../definition/event-stream.js';
import { assertRequestedVersion, type AnyEvent } from '../definition/stream-definition.js';
import { readHead } from '../rows/head.js';
import { deletedError } from '../rows/stream-conflicts.js';
import type { StreamRows } from '../rows/stream-rows.js';
import { decodeEvent } from './event-codec.js';
import { assertDeleted, eventRange, versionIn } from './event-rows.js';

type Range = EventRange & CallOptions;
const pageEvents = 200;

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
  let left = limit;
  const scan = async (low: number, high: number | undefined): Promise<readonly ScannedRow[]> => {
    const pageRange = { ...eventRange(rows, low, high, Math.min(left, pageEvents)), reverse };
    const [page] = await rows.access.scan([pageRange], { signal });
    return page.rows;
  };
  const [head, first] = await Promise.all([readHead(rows, signal), scan(from, to)]);
  if (head.kind === 'deleted') throw deletedError(rows);
  let [low, high] = [from, Math.min(to ?? head.version, head.version)];
  const eventsOf = (page: readonly ScannedRow[]) =>
    page
      .map((row) => ({ row, version: versionIn(rows, row) }))
      .filter(({ version }) => version >= low && version <= high);
  const next = (): number => (reverse ? high : low);
  let events = eventsOf(first);
  // the first page may have been read before the head
  if (events[0]?.version !== next()) events = [];
  while (low <= high && left > 0) {
    if (events.length === 0) events = eventsOf(await scan(low, high));
    if (events.length === 0) await throwMissing(rows, next(), signal);
    for (const { row, version } of events) {
      if (version !== next()) await throwMissing(rows, next(), signal);
      throwIfAborted('read', signal);
      yield await decodeEvent(rows, version, row.row);
      left -= 1;
      if (reverse) high -= 1;
      else low += 1;
    }
    events = [];
  }
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
