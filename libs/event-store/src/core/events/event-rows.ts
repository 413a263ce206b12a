/** The rows of a stream's events: their range, their versions, and what a missing one means. */
import type { FeedPosition, Row, RowAddress, ScannedRow, ScanRange } from '@kvent/key-value-storage/provider';
import { headIn, readHead, type Head } from '../rows/head.js';
import { corrupt, numbersIn, versionKey } from '../rows/stream-addresses.js';
import { deletedError } from '../rows/stream-conflicts.js';
import type { StreamRows } from '../rows/stream-rows.js';

/**
 * The maximum of events of a page. `pageBytesMax` bounds it too, so memory stays constant; most
 * streams are one page, and so one round trip.
 */
export const pageEvents = 1_000;

/** The events of a part of a page: a provider may read one while another is decoded. */
const partEvents = 250;

/** The parts of a page, and what is behind it. */
function partsOf(from: number, to: number, limit: number): NonNullable<ScanRange['parts']> {
  const splitAt: string[] = [];
  const end = Math.min(from + limit, to);
  for (let version = from + partEvents; version <= end; version += partEvents)
    splitAt.push(versionKey(version));
  return { splitAt, rows: partEvents };
}

/** The events of a range of versions; without `to` up to the last. */
export const eventRange = (
  rows: StreamRows,
  from: number,
  to: number | undefined,
  limit: number,
): ScanRange => ({
  ...rows.rangeOf('event'),
  start: versionKey(Math.max(from, 1)),
  ...(to !== undefined && { end: versionKey(to + 1) }),
  limit,
  parts: partsOf(Math.max(from, 1), to ?? Number.POSITIVE_INFINITY, limit),
});

/**
 * The version of a scanned event. `likely`: the version at this position when none is missing, so
 * that most keys are compared and not decoded.
 */
export function versionIn(rows: StreamRows, { key }: ScannedRow, likely: number): number {
  if (likely > 0 && key === versionKey(likely)) return likely;
  const [version] = numbersIn(key) ?? [];
  if (version === undefined) throw corrupt({ ...rows.rangeOf('event'), key }, 'Kvent did not write its key');
  return version;
}

/**
 * What was read with the head, beside a page of events. Read again where the page has an event that
 * the head does not count: another writer has appended it since. `STORAGE_CORRUPT` where it still
 * does not: the head is lost, and the stream is not empty.
 */
export async function countingPage<R extends { readonly head: Head }>(
  rows: StreamRows,
  page: readonly ScannedRow[],
  read: R,
  again: () => Promise<R>,
): Promise<R> {
  const newest = newestIn(rows, page, read.head);
  if (isCounted(read.head, newest)) return read;
  const later = await again();
  if (isCounted(later.head, newest)) return later;
  throw uncountedEventError(rows, rows.event(newest));
}

const isCounted = ({ kind, version }: Head, newest: number): boolean =>
  kind === 'deleted' || newest <= version;

/** The highest version of a page in either order; 0 of an empty one. */
function newestIn(rows: StreamRows, page: readonly ScannedRow[], { version }: Head): number {
  const ends = [page[0], page.at(-1)].filter((row) => row !== undefined);
  return Math.max(0, ...ends.map((row) => versionIn(rows, row, version)));
}

export const uncountedEventError = ({ database }: StreamRows, address: RowAddress) =>
  corrupt({ ...address, database }, 'the head does not count this event');

export const missingEventError = (rows: StreamRows, version: number, { version: of }: Head) =>
  corrupt(rows.event(version), `event ${version} is missing, and the stream is at version ${of}`);

/**
 * For a missing event: `STORAGE_CORRUPT`, unless the stream was deleted since its head was read.
 */
export async function assertDeleted(
  rows: StreamRows,
  version: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const head = await readHead(rows, signal);
  if (head.kind !== 'deleted') throw missingEventError(rows, version, head);
}

/** Where an event stands in the feed. `STREAM_DELETED`. */
export async function positionOf(
  rows: StreamRows,
  version: number,
  signal: AbortSignal | undefined,
): Promise<FeedPosition | undefined> {
  const { access, head } = rows;
  const {
    rows: [headRow, event],
  } = await access.read([head, rows.event(version)], { signal });
  if (headIn(head, headRow).kind === 'deleted') throw deletedError(rows);
  return event?.position;
}

/** The number of versions read in one round trip to find a time. */
const probes = 32;

/** The last version that was recorded no later than a time; 0 before the first. */
export async function versionAt(
  rows: StreamRows,
  time: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  const head = await readHead(rows, signal);
  if (head.kind === 'deleted') return 0;
  let [low, high] = [0, head.version];
  while (low < high) {
    const step = Math.max(1, Math.ceil((high - low) / probes));
    const versions = Array.from({ length: Math.ceil((high - low) / step) }, (_, index) =>
      Math.min(low + (index + 1) * step, high),
    );
    const addresses = versions.map((version) => rows.event(version));
    const { rows: events } = await rows.access.read(addresses, { values: 'omit', signal });
    const missing = versions.find((_, index) => events[index] === undefined);
    if (missing !== undefined) {
      await assertDeleted(rows, missing, signal);
      return 0;
    }
    const later = events.findIndex((row) => (row as Row).updatedAt > time);
    if (later === -1) return high;
    low = later === 0 ? low : (versions[later - 1] as number);
    high = (versions[later] as number) - 1;
  }
  return low;
}
