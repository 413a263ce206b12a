/**
 * Loading: the head, the newest snapshot and the last events are asked for in one turn, and mostly
 * meet; else the gap is read page by page. The end is always the head's version. A missing event
 * means that the stream was deleted meanwhile, or damage: never that it is shorter.
 */
import type { Address, ReadResult, Row, ScanRange, ScannedRow } from '@kvent/key-value-storage/provider';
import { isPromise } from '@kvent/key-value-storage/internal';
import { decodeEvent } from './event-codec.js';
import { evolved, initialOf } from './fold.js';
import { headIn, type Head } from '../rows/head.js';
import type { AnyEvent } from '../definition/stream-definition.js';
import { newestSnapshot, snapshotsUpTo, type Snapshot } from '../snapshots/snapshot-rows.js';
import { streamError } from '../definition/stream-errors.js';
import type { StreamObserver } from '../definition/stream-observer.js';
import { corrupt, numbersIn, versionKey, type StreamRows } from '../rows/stream-rows.js';

/**
 * Events beyond `every` that one turn asks for: what was appended before the next snapshot landed.
 */
const tailMargin = 28;
/**
 * The longest tail that is asked for before it is known whether it is wanted: more would cost those
 * whose snapshot is fresh more than a second turn does the others.
 */
const tailMax = 128;
/**
 * Events that a page asks for: few enough to stay small with the largest, enough to make few turns.
 */
const pageEvents = 500;
/** Versions that are looked at in one turn, to find a time. */
const probes = 32;

export interface LoadOptions {
  readonly observer: StreamObserver;
  readonly signal: AbortSignal | undefined;
  readonly atVersion?: number | undefined;
  /** Rows that are wanted in the same turn. */
  readonly extraReads?: readonly Address[];
}

/** A stream as it was found: up to its head, or to the version asked for. */
export interface LoadResult {
  readonly head: Head;
  readonly version: number;
  readonly state: unknown;
  /** The rows asked for beside it, and the provider's time. */
  readonly extraRows: readonly (Row | undefined)[];
  readonly time: number;
  /** Events that were read, and where the snapshot stood, 0 for none. */
  readonly replayed: number;
  readonly snapshotVersion: number;
}

/**
 * `STREAM_VERSION_NOT_FOUND` where the stream is shorter than `atVersion`; a deleted one is
 * `initial` at version 0, and its head says so.
 */
export async function loadStream(rows: StreamRows, options: LoadOptions): Promise<LoadResult> {
  const { access } = rows;
  const { atVersion, extraReads = [], signal, observer } = options;
  const { every } = rows.definition.snapshot;
  const tail = Math.min((every ?? tailMax) + tailMargin, tailMax);
  const [looked, pages] = await Promise.all([
    access.read([rows.head, ...extraReads], { signal }),
    access.scan(
      [snapshotsUpTo(rows, atVersion), { ...eventRange(rows, 1, atVersion), reverse: true, limit: tail }],
      { signal },
    ),
  ]);
  const found = headReadOf(rows, looked);
  const { head } = found;
  if (head.kind === 'deleted') return deletedResult(rows, found, atVersion);
  if (atVersion !== undefined && atVersion > head.version)
    throw versionNotFoundError(rows, atVersion, head.version);
  const end = atVersion ?? head.version;
  const [snapshots, events] = pages;
  const snapshot =
    end === 0 ? undefined : await newestSnapshot(rows, snapshots.rows[0], end, { observer, signal });
  const replay = new Replay(rows, snapshot, options);
  const whole = await replay.upTo(end, events.rows.toReversed());
  // an event is missing: only a delete takes them
  if (!whole) return await rereadHead(rows, options, replay.version + 1);
  const { version, state, replayed } = replay;
  return { ...found, version, state, replayed, snapshotVersion: snapshot?.version ?? 0 };
}

/** Goes on from a state that is known, up to the head: what a session does after a conflict. */
export async function catchUp(
  rows: StreamRows,
  from: { readonly version: number; readonly state: unknown },
  options: LoadOptions,
): Promise<LoadResult> {
  const found = await readHead(rows, options);
  if (found.head.kind === 'deleted') return deletedResult(rows, found, undefined);
  const replay = new Replay(rows, from, options);
  if (!(await replay.upTo(found.head.version, [])))
    return await rereadHead(rows, options, replay.version + 1);
  return {
    ...found,
    version: replay.version,
    state: replay.state,
    replayed: replay.replayed,
    snapshotVersion: from.version,
  };
}

/** The last version whose event was recorded no later than a time; 0 before the first. */
export async function versionAt(
  rows: StreamRows,
  time: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  const { head } = await readHead(rows, { signal });
  if (head.kind === 'deleted') return 0;
  let [low, high] = [0, head.version];
  while (low < high) {
    const step = Math.max(1, Math.ceil((high - low) / probes));
    const versions = Array.from({ length: Math.ceil((high - low) / step) }, (_, index) =>
      Math.min(low + (index + 1) * step, high),
    );
    const { rows: seen } = await rows.access.read(
      versions.map((version) => rows.event(version)),
      { values: 'omit', signal },
    );
    const missing = versions.find((_, index) => seen[index] === undefined);
    if (missing !== undefined) {
      await assertDeleted(rows, missing, signal);
      return 0;
    }
    const later = seen.findIndex((row) => (row as Row).updatedAt > time);
    if (later === -1) return high;
    low = later === 0 ? low : (versions[later - 1] as number);
    high = (versions[later] as number) - 1;
  }
  return low;
}

export function eventRange(rows: StreamRows, from: number, to: number | undefined): ScanRange {
  const start = versionKey(Math.max(from, 1));
  return {
    ...rows.rangeOf('event'),
    start,
    ...(to !== undefined && { end: versionKey(to + 1) }),
    limit: pageEvents,
  };
}

/** The version of a scanned event. */
export function versionIn(rows: StreamRows, { key }: ScannedRow): number {
  const [version] = numbersIn(key) ?? [];
  if (version === undefined) throw corrupt({ ...rows.rangeOf('event'), key }, 'Kvent did not write its key');
  return version;
}

/** A version is not there: the stream was deleted meanwhile, or `STORAGE_CORRUPT`. */
export async function assertDeleted(
  rows: StreamRows,
  version: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { head } = await readHead(rows, { signal });
  if (head.kind !== 'deleted')
    throw corrupt(
      rows.event(version),
      `event ${version} is missing, and the stream is at version ${head.version}`,
    );
}

type HeadRead = Pick<LoadResult, 'head' | 'extraRows' | 'time'>;

function headReadOf(rows: StreamRows, { rows: [head, ...beside], time }: ReadResult): HeadRead {
  return { head: headIn(rows.head, head), extraRows: beside, time };
}

async function readHead(
  rows: StreamRows,
  { extraReads = [], signal }: Pick<LoadOptions, 'extraReads' | 'signal'>,
): Promise<HeadRead> {
  return headReadOf(rows, await rows.access.read([rows.head, ...extraReads], { signal }));
}

function deletedResult(rows: StreamRows, found: HeadRead, atVersion: number | undefined): LoadResult {
  if (atVersion !== undefined && atVersion > 0) throw versionNotFoundError(rows, atVersion, 0);
  return { ...found, version: 0, state: initialOf(rows), replayed: 0, snapshotVersion: 0 };
}

async function rereadHead(rows: StreamRows, options: LoadOptions, missing: number): Promise<LoadResult> {
  const found = await readHead(rows, options);
  if (found.head.kind === 'deleted') return deletedResult(rows, found, options.atVersion);
  throw corrupt(
    rows.event(missing),
    `event ${missing} is missing, and the stream is at version ${found.head.version}`,
  );
}

const versionNotFoundError = (rows: StreamRows, version: number, actual: number) =>
  streamError(
    'STREAM_VERSION_NOT_FOUND',
    `The ${rows.name} is at version ${actual}; asked for was ${version}.`,
    {
      stream: rows.path,
      version,
    },
  );

/** The fold, from a snapshot on. */
class Replay {
  readonly #rows: StreamRows;
  readonly #signal: AbortSignal | undefined;
  /** Where it began. */
  readonly #snapshot: number;
  version: number;
  state: unknown;
  replayed = 0;

  constructor(
    rows: StreamRows,
    from: Pick<Snapshot, 'version' | 'state'> | undefined,
    { signal }: LoadOptions,
  ) {
    this.#rows = rows;
    this.#signal = signal;
    this.version = from?.version ?? 0;
    this.state = from === undefined ? initialOf(rows) : from.state;
    this.#snapshot = this.version;
  }

  /**
   * Folds up to a version: the gap in front of the events at hand, these, and what is not among
   * them yet. Answers whether every event was there.
   */
  async upTo(end: number, atHand: readonly ScannedRow[]): Promise<boolean> {
    const useful = atHand
      .map((row) => ({ row, version: versionIn(this.#rows, row) }))
      .filter(({ version }) => version > this.version && version <= end);
    const first = useful[0]?.version;
    if (first !== undefined && !(await this.#pages(first - 1))) return false;
    for (const { row, version } of useful) {
      const folded = this.#fold(version, row.row);
      if (!(isPromise(folded) ? await folded : folded)) return false;
    }
    return await this.#pages(end);
  }

  async #pages(end: number): Promise<boolean> {
    if (this.version >= end) return true;
    const range = eventRange(this.#rows, this.version + 1, end);
    for await (const page of this.#rows.access.scanPages(range, { signal: this.#signal })) {
      for (const scanned of page.rows) {
        const folded = this.#fold(versionIn(this.#rows, scanned), scanned.row);
        if (!(isPromise(folded) ? await folded : folded)) return false;
      }
    }
    return this.version === end;
  }

  /**
   * Answers whether it was the next one. A promise only where an event must be lifted by a schema.
   */
  #fold(version: number, row: Row): boolean | Promise<boolean> {
    if (version !== this.version + 1) return false;
    const decoded = decodeEvent(this.#rows, version, row);
    return isPromise(decoded)
      ? decoded.then((event) => this.#step(version, event))
      : this.#step(version, decoded);
  }

  #step(version: number, event: AnyEvent): boolean {
    this.state = evolved(this.#rows, this.state, event, { version, stored: true, snapshot: this.#snapshot });
    this.version = version;
    this.replayed += 1;
    return true;
  }
}
