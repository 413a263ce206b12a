/** Export and import of whole databases: rows as they are, with versions and absolute times. */
import {
  feedKeptEnd,
  feedStart,
  ImportedPositions,
  isPlaced,
  isStorageError,
  partsOfPosition,
  soundRows,
  type ExportPart,
  type FeedPosition,
  type RawRow,
  type ScanPage,
  type Space,
} from '@kvent/key-value-storage/provider';
import { partlyImported } from '@kvent/key-value-storage/internal';
import type { Session } from './connections/session.js';
import { feedBaseOf, type FeedBase } from './read/feed-base.js';
import type { Reader } from './read/reader.js';
import { exportRows, findPositions, importRows, lockImports } from './sql/administration-statements.js';
import { sparse, TextArray } from './sql/array-parameters.js';
import { decodePosition, decodeRow } from './sql/decode-row.js';
import { readFeedState } from './sql/feed-statements.js';
import type { Dialect } from './sql/statement.js';

/** Rows and bytes of one statement at most. */
const pageRows = 1_000;
const pageBytesMax = 4 * 1_024 * 1_024;

/**
 * The live rows of a database in order, page by page, in the snapshot of the session if it has one.
 */
export async function* exportDatabase(
  session: Session,
  dialect: Dialect,
  database: string,
  time: () => readonly number[],
): AsyncGenerator<RawRow> {
  const statement = exportRows(dialect);
  let after: readonly (string | null)[] = ['', '', ''];
  for (let limit = 16; ; limit = Math.min(limit * 4, pageRows)) {
    const lines = await session.run(statement, [database, ...after, limit, ...time()], 'read');
    for (const line of lines) {
      const [container, entity, key] = line as readonly string[];
      yield {
        container: container as string,
        entity: entity as string,
        key: key as string,
        row: decodeRow(line, 3, 'include'),
      };
    }
    const last = lines.at(-1);
    if (last === undefined) return;
    after = last.slice(0, 3);
  }
}

/** The live rows of a part of a space, as above: one page is read ahead. */
export async function* exportSpace(reader: Reader, part: Space & ExportPart): AsyncGenerator<RawRow> {
  const { container, entity } = part;
  let next: Promise<ScanPage> | undefined = reader.scan({ ...part, limit: pageRows });
  try {
    while (next !== undefined) {
      const { rows, more }: ScanPage = await next;
      const after: string | undefined = rows.at(-1)?.key;
      next = more && after !== undefined ? reader.scan({ ...part, after, limit: pageRows }) : undefined;
      // thrown when the page is needed
      next?.catch(() => undefined);
      for (const { key, row } of rows) yield { container, entity, key, row };
    }
  } finally {
    // the snapshot ends after its last statement
    await next?.catch(() => undefined);
  }
}

/** How an import reaches the table. */
interface ImportAccess {
  /** Sees the rows of the database. */
  readonly session: Session;
  /**
   * Runs the work in one transaction, and runs it again when the server has undone it for another
   * session. `feed` sees the rows in the feed, of all databases.
   */
  transaction<R>(
    work: (sessions: { readonly database: Session; readonly feed: Session }) => Promise<R>,
  ): Promise<R>;
  /** Raises the base of the feed in the transaction. */
  readonly raise: (transaction: bigint, feed: Session) => Promise<FeedBase>;
}

/**
 * Puts rows as they are, page by page; returns how many. An error has the number of stored rows
 * (`done`).
 */
export async function importDatabase(
  access: ImportAccess,
  dialect: Dialect,
  database: string,
  rows: AsyncIterable<RawRow> | Iterable<RawRow>,
): Promise<number> {
  const statement = importRows(dialect);
  let positions = new ImportedPositions();
  let count = 0;
  let stored = 0;
  let bytes = 0;
  /** By address: one statement cannot write a row twice, and the last one counts. */
  const page = new Map<string, RawRow>();
  const put = async (raws: readonly RawRow[]): Promise<void> => {
    if (!raws.some(isPlaced))
      return void (await access.session.run(
        statement,
        [database, ...arraysOf(raws), ...atPositions([])],
        'write',
      ));
    positions = await access.transaction(async (sessions) => {
      const attempt = positions.copy();
      await sessions.feed.run(lockImports(dialect), [], 'read');
      const feedBase = await raiseBase(sessions.feed, dialect, raws, access.raise);
      const placed = await place(sessions.feed, dialect, database, raws, attempt);
      const parameters = [database, ...arraysOf(raws), ...atPositions(placed, feedBase)];
      await sessions.database.run(statement, parameters, 'write');
      return attempt;
    });
  };
  const flush = async (): Promise<void> => {
    const raws = [...page.values()];
    page.clear();
    bytes = 0;
    if (raws.length > 0) await put(raws);
    stored = count;
  };
  try {
    for await (const raw of soundRows(database, rows)) {
      page.set(`${raw.container}\0${raw.entity}\0${raw.key}`, raw);
      count += 1;
      bytes += sizeOf(raw);
      if (page.size >= pageRows || bytes >= pageBytesMax) await flush();
    }
    await flush();
  } catch (error) {
    throw isStorageError(error) ? partlyImported(error, stored) : error;
  }
  return count;
}

/**
 * The base of the feed, above the positions that these rows may keep: so a new position stands
 * behind all of them, and no row has it.
 */
async function raiseBase(
  feed: Session,
  dialect: Dialect,
  rows: readonly RawRow[],
  raise: ImportAccess['raise'],
): Promise<string> {
  let last = feedStart;
  for (const { row } of rows)
    if (row.position !== undefined && row.position < feedKeptEnd && row.position > last) last = row.position;
  const [state = []] = await feed.run(readFeedState(dialect), [], 'read');
  const { feedBase } = feedBaseOf(state);
  const [transaction] = partsOfPosition(last);
  if (transaction < BigInt(feedBase) + BigInt(state[5] ?? 0)) return feedBase;
  return (await raise(transaction, feed)).feedBase;
}

/** Where a row stands: at a position, at a new one, or not in the feed. */
type Place = FeedPosition | 'new' | undefined;

/** Where each row stands, by the rules of `ImportedPositions`. */
async function place(
  feed: Session,
  dialect: Dialect,
  database: string,
  rows: readonly RawRow[],
  imported: ImportedPositions,
): Promise<readonly Place[]> {
  const placed = rows.filter(isPlaced);
  const lines = await feed.run(
    findPositions(dialect),
    [database, ...addressesOf(placed), ...positionsOf(placed.map(({ row }) => row.position))],
    'read',
  );
  const found = new Map(lines.map(([index, ...line]) => [placed[Number(index) - 1] as RawRow, line]));
  /** Two rows of the page may come with one position. */
  const kept = new Set<FeedPosition>();
  return rows.map((raw) => {
    if (!isPlaced(raw)) return undefined;
    const [version, stored, taken] = found.get(raw) ?? [];
    const before =
      typeof version === 'string' && typeof stored === 'string'
        ? { version, position: decodePosition(stored) }
        : undefined;
    const isTaken = (position: FeedPosition): boolean => taken === 't' || kept.has(position);
    const position = imported.positionOf(raw, before, isTaken);
    if (position === undefined) return 'new';
    kept.add(position);
    return position;
  });
}

function arraysOf(rows: readonly RawRow[]): readonly unknown[] {
  const column = <R>(of: (raw: RawRow) => R): R[] => rows.map(of);
  return [
    ...addressesOf(rows),
    column(({ row }) => row.version),
    column(({ row }) => row.updatedAt),
    column(({ row }) => row.expiresAt ?? null),
    column(({ row }) => row.ttlMs ?? null),
    column(({ row }) => (row.value.kind === 'number' ? row.value.number.toString() : null)),
    new TextArray(column(({ row }) => (row.value.kind === 'json' ? row.value.text : null))),
    new TextArray(
      column(({ row }) =>
        row.value.kind === 'bytes' ? Buffer.from(row.value.bytes).toString('base64') : null,
      ),
    ),
  ];
}

const addressesOf = (rows: readonly RawRow[]): readonly TextArray[] => [
  new TextArray(rows.map(({ container }) => container)),
  new TextArray(rows.map(({ entity }) => entity)),
  new TextArray(rows.map(({ key }) => key)),
];

/** The parameters of `importRows` about positions. */
function atPositions(places: readonly Place[], feedBase = '0'): readonly unknown[] {
  const isNew = places.map((each) => (each === 'new' ? true : null));
  const kept = places.map((each) => (each === 'new' ? undefined : each));
  return [...positionsOf(kept), sparse(isNew), feedBase];
}

/** Their transactions, and their sequences. */
const positionsOf = (positions: readonly (FeedPosition | undefined)[]): readonly unknown[] => [
  sparse(positions.map((position) => numberIn(position, 0))),
  sparse(positions.map((position) => numberIn(position, 1))),
];

/** The transaction (0) or the sequence (1) of a position. */
const numberIn = (position: FeedPosition | undefined, part: 0 | 1): string | null =>
  position === undefined ? null : partsOfPosition(position)[part].toString();

const sizeOf = ({ row: { value } }: RawRow): number =>
  value.kind === 'json' ? value.text.length : value.kind === 'bytes' ? value.bytes.length : 8;
