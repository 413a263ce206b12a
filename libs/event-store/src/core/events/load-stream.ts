/**
 * Loads a stream. One round trip reads the head, the newest snapshot and a page of events; the
 * events that are still missing are read page by page. The head states the version of the stream,
 * so a missing event is a concurrent deletion or damage, never the end of the stream.
 */
import type { Address, ReadResult, Row, ScannedRow, ScanRange } from '@kvent/key-value-storage/provider';
import { isPromise } from '@kvent/key-value-storage/internal';
import type { AnyEvent, ResolvedStream } from '../definition/stream-definition.js';
import { streamError } from '../definition/stream-errors.js';
import type { StreamObserver } from '../definition/stream-observer.js';
import { headIn, type Head } from '../rows/head.js';
import type { StreamRows } from '../rows/stream-rows.js';
import { newestSnapshot, snapshotsUpTo, type Snapshot } from '../snapshots/newest-snapshot.js';
import { decodeEvent } from './event-codec.js';
import { countingPage, eventRange, missingEventError, pageEvents, versionIn } from './event-rows.js';
import { evolve, initialOf } from './fold.js';

/**
 * Events beyond `snapshot.every` that the first round trip reads: the next snapshot may be pending.
 */
const tailMargin = 28;
/**
 * The maximum of events that the first round trip reads. More would slow down loads that need few.
 */
const tailMax = 128;
/** Types without automatic snapshots of which a load has found a snapshot. */
const snapshotFound = new WeakSet<ResolvedStream>();

export interface LoadOptions {
  readonly observer: StreamObserver;
  readonly signal: AbortSignal | undefined;
  readonly atVersion?: number | undefined;
  /** Rows to read in the same round trip. */
  readonly extraReads?: readonly Address[];
}

/** The head of a stream, the extra rows, and the provider's time. */
interface HeadRead {
  readonly head: Head;
  readonly extraRows: readonly (Row | undefined)[];
  readonly time: number;
}

/** A stream at the version of its head, or at the requested version. */
export interface LoadResult extends HeadRead {
  readonly version: number;
  readonly state: unknown;
  /** The number of events read. */
  readonly replayed: number;
  /** 0 when no snapshot was used. */
  readonly snapshotVersion: number;
}

/**
 * `STREAM_VERSION_NOT_FOUND` when `atVersion` is above the version of the stream. A deleted stream
 * has the state `initial` at version 0, and `head.kind` is 'deleted'.
 */
export async function loadStream(rows: StreamRows, options: LoadOptions): Promise<LoadResult> {
  const { access } = rows;
  const { atVersion, extraReads = [], signal, observer } = options;
  const range = firstPage(rows, atVersion);
  const {
    read: result,
    pages: [events, snapshots],
  } = await access.readWithScan([rows.head, ...extraReads], [range, snapshotsUpTo(rows, atVersion)], {
    signal,
  });
  const read = await countingPage(rows, events.rows, headReadOf(rows, result), () =>
    readWithHead(rows, options),
  );
  const { head } = read;
  if (head.kind === 'deleted') return deletedResult(rows, read, atVersion);
  if (atVersion !== undefined && atVersion > head.version)
    throw versionNotFoundError(rows, atVersion, head.version);
  const end = atVersion ?? head.version;
  const snapshot =
    end === 0 ? undefined : await newestSnapshot(rows, snapshots.rows[0], end, { observer, signal });
  if (snapshot !== undefined) snapshotFound.add(rows.definition);
  const page = range.reverse === true ? events.rows.toReversed() : events.rows;
  return await replay(rows, read, end, snapshot, page, options);
}

/**
 * The last events of a type with snapshots. Others are folded from the first event on, so most of
 * their loads are one page.
 */
function firstPage(rows: StreamRows, atVersion: number | undefined): ScanRange {
  const { definition } = rows;
  const { every } = definition.snapshot;
  // event 1 for version 0 too: a lost head is noticed by the events that it does not count
  const end = atVersion === undefined ? undefined : Math.max(atVersion, 1);
  if (every === undefined && !snapshotFound.has(definition)) return eventRange(rows, 1, end, pageEvents);
  const tail = Math.min((every ?? tailMax) + tailMargin, tailMax);
  return { ...eventRange(rows, 1, end, tail), reverse: true };
}

/**
 * Continues from a known state up to the head, as a session does after a conflict. A state beyond
 * the head is of commits that the storage has lost, as in a failover: all events are read then.
 */
export async function catchUp(rows: StreamRows, from: Snapshot, options: LoadOptions): Promise<LoadResult> {
  const read = await readWithHead(rows, options);
  const { kind, version } = read.head;
  if (kind === 'deleted') return deletedResult(rows, read, undefined);
  return await replay(rows, read, version, from.version > version ? undefined : from, [], options);
}

async function replay(
  rows: StreamRows,
  read: HeadRead,
  end: number,
  from: Snapshot | undefined,
  page: readonly ScannedRow[],
  options: LoadOptions,
): Promise<LoadResult> {
  const replay = new Replay(rows, from, options.signal);
  if (await replay.upTo(end, page)) {
    const { version, state, replayed } = replay;
    return { ...read, version, state, replayed, snapshotVersion: from?.version ?? 0 };
  }
  const again = await readWithHead(rows, options);
  if (again.head.kind === 'deleted') return deletedResult(rows, again, options.atVersion);
  throw missingEventError(rows, replay.version + 1, again.head);
}

function headReadOf(rows: StreamRows, { rows: [head, ...extraRows], time }: ReadResult): HeadRead {
  return { head: headIn(rows.head, head), extraRows, time };
}

async function readWithHead(
  rows: StreamRows,
  { extraReads = [], signal }: Pick<LoadOptions, 'extraReads' | 'signal'>,
): Promise<HeadRead> {
  return headReadOf(rows, await rows.access.read([rows.head, ...extraReads], { signal }));
}

function deletedResult(rows: StreamRows, read: HeadRead, atVersion: number | undefined): LoadResult {
  if (atVersion !== undefined && atVersion > 0) throw versionNotFoundError(rows, atVersion, 0);
  return { ...read, version: 0, state: initialOf(rows), replayed: 0, snapshotVersion: 0 };
}

function versionNotFoundError(rows: StreamRows, version: number, actual: number) {
  const message = `The ${rows.name} is at version ${actual}; version ${version} was requested.`;
  return streamError('STREAM_VERSION_NOT_FOUND', message, { stream: rows.path, version });
}

/** Folds events from a snapshot on. */
class Replay {
  readonly #rows: StreamRows;
  readonly #signal: AbortSignal | undefined;
  readonly #snapshot: number;
  version: number;
  state: unknown;
  replayed = 0;

  constructor(rows: StreamRows, from: Snapshot | undefined, signal: AbortSignal | undefined) {
    this.#rows = rows;
    this.#signal = signal;
    this.version = from?.version ?? 0;
    this.state = from === undefined ? initialOf(rows) : from.state;
    this.#snapshot = this.version;
  }

  /**
   * Folds up to a version: the events before `page`, those of `page`, and those after it. Returns
   * false when an event is missing.
   */
  async upTo(end: number, page: readonly ScannedRow[]): Promise<boolean> {
    let likely = 0;
    let isFirst = true;
    for (const scanned of page) {
      const version = versionIn(this.#rows, scanned, likely);
      likely = version + 1;
      if (version <= this.version || version > end) continue;
      if (isFirst && !(await this.#readUpTo(version - 1))) return false;
      isFirst = false;
      const folded = this.#fold(version, scanned.row);
      if (!(isPromise(folded) ? await folded : folded)) return false;
    }
    return await this.#readUpTo(end);
  }

  async #readUpTo(end: number): Promise<boolean> {
    if (this.version >= end) return true;
    const range = eventRange(this.#rows, this.version + 1, end, pageEvents);
    for await (const page of this.#rows.access.scanPages(range, { signal: this.#signal })) {
      for (const scanned of page.rows) {
        const folded = this.#fold(versionIn(this.#rows, scanned, this.version + 1), scanned.row);
        if (!(isPromise(folded) ? await folded : folded)) return false;
      }
    }
    return this.version === end;
  }

  /**
   * Returns whether the event is the next one. A promise only when a schema validates
   * asynchronously.
   */
  #fold(version: number, row: Row): boolean | Promise<boolean> {
    if (version !== this.version + 1) return false;
    const event = decodeEvent(this.#rows, version, row);
    return isPromise(event)
      ? event.then((decoded) => this.#step(version, decoded))
      : this.#step(version, event);
  }

  #step(version: number, event: AnyEvent): boolean {
    this.state = evolve(this.#rows, this.state, event, { version, stored: true, snapshot: this.#snapshot });
    this.version = version;
    this.replayed += 1;
    return true;
  }
}
