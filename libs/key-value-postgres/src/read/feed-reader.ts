/** The feed of a table: its pages, and what `open` does for it. */
import {
  feedStart,
  limits,
  partOfPosition,
  partsOfPosition,
  type FeedEntry,
  type FeedPage,
  type FeedPosition,
  type FeedRequest,
} from '@kvent/key-value-storage/provider';
import { sizeOfValue } from '@kvent/key-value-storage/internal';
import type { Purpose } from '../connections/session.js';
import { feedBaseOf, type FeedBase } from './feed-base.js';
import { decodePosition, decodeRow, numberOf, rowInLine, type Columns } from '../sql/decode-row.js';
import {
  endFeedMigration,
  feedHeadColumns,
  placeOldEvents,
  readFeedPage,
  readFeedPageAsLine,
  readFeedState,
} from '../sql/feed-statements.js';
import { feedFirstEnd } from '../sql/feed-columns.js';
import { TextArray } from '../sql/array-parameters.js';
import { milliseconds, separator, type Dialect, type Statement } from '../sql/statement.js';

/**
 * Events that get their positions in one statement, and the number after which progress is
 * reported.
 */
const oldEventsMax = 2_000;
const progressEach = 100_000;

/** The same page in two ways. */
interface Statements {
  readonly line: Statement;
  readonly rows: Statement;
}

/** A longer page is tried as one line: for few rows, that costs more. */
const plainPageMax = 32;

type Run = (
  statement: Statement,
  parameters: readonly unknown[],
  purpose?: Purpose,
) => Promise<readonly Columns[]>;

export class FeedReader {
  readonly #dialect: Dialect;
  readonly #time: () => readonly number[];
  /** Two texts for each combination of filters. */
  readonly #pages = new Map<string, Statements>();

  constructor(dialect: Dialect, time: () => readonly number[]) {
    this.#dialect = dialect;
    this.#time = time;
  }

  /** Undefined where the base of the table is another one by now. */
  async page(run: Run, request: FeedRequest): Promise<FeedPage | undefined> {
    const { after = feedStart, limit, databases, containers } = request;
    const shape = `${databases !== undefined},${containers !== undefined}`;
    let statements = this.#pages.get(shape);
    if (statements === undefined) {
      statements = {
        line: readFeedPageAsLine(this.#dialect, request),
        rows: readFeedPage(this.#dialect, request),
      };
      this.#pages.set(shape, statements);
    }
    const filters = [databases, containers].filter((filter) => filter !== undefined);
    const parameters = [
      ...partsOfPosition(after).map(String),
      limit,
      ...filters.map((filter) => new TextArray(filter)),
      ...this.#time(),
    ];
    if (limit > plainPageMax) {
      const [line = []] = await run(statements.line, parameters);
      if (this.#isFormer(line)) return undefined;
      const found = entriesOf(line.slice(feedHeadColumns));
      if (found !== undefined) return pageOf(line, { found, entries: found }, after, limit);
    }
    const lines = await run(statements.rows, parameters);
    // the line without a version is the head
    const head = lines.find((line) => line[6] === null) ?? [];
    if (this.#isFormer(head)) return undefined;
    const found = lines.filter((line) => line[6] !== null).map(entryOf);
    return pageOf(head, { found, entries: withinFeedPage(found) }, after, limit);
  }

  /**
   * With a former base the horizon is too low: nothing is missed, but what was written since is not
   * returned.
   */
  #isFormer({ 5: base }: Columns): boolean {
    return typeof base === 'string' && base !== this.#dialect.feedBase;
  }
}

function pageOf(
  [time, lastRow, visited, held, heldTo]: Columns,
  { found, entries }: { readonly found: readonly FeedEntry[]; readonly entries: readonly FeedEntry[] },
  after: FeedPosition,
  limit: number,
): FeedPage {
  const page = {
    time: milliseconds(time as string),
    entries,
    ...(typeof held === 'string' && { heldBackMs: Math.max(0, milliseconds(held)) }),
    ...(typeof heldTo === 'string' && { heldBackTo: decodePosition(heldTo) }),
  };
  const last = entries.at(-1)?.position;
  if (limit > 0 && last !== undefined && (entries.length < found.length || found.length === limit))
    return { ...page, next: last, upToDate: false };
  if (typeof visited === 'string') return { ...page, next: decodePosition(visited), upToDate: false };
  const end = typeof lastRow === 'string' ? decodePosition(lastRow) : feedStart;
  return { ...page, next: end > after ? end : after, upToDate: true };
}

function entryOf(line: Columns): FeedEntry {
  const [transaction, sequence, database, container, entity, key] = line as readonly string[];
  const position = decodePosition(`${transaction}.${sequence}`);
  const address = { database, container, entity, key } as FeedEntry['address'];
  return { address, row: { ...decodeRow(line, 6, 'include'), position }, position };
}

/** The columns of a line behind its head; undefined: see `asOneLine`. */
function entriesOf([ok, ...columns]: Columns): readonly FeedEntry[] | undefined {
  if (ok !== 't') return undefined;
  if (columns[0] === null) return [];
  const lists = columns.map((column) => (column as string).split(separator));
  const [transactions = [], sequences = [], databases = [], containers = [], entities = [], keys = []] =
    lists;
  const [versions = [], times = [], texts = [], rares = []] = lists.slice(6);
  // a name or a key has the separator in it
  if (lists.some(({ length }) => length !== sequences.length)) return undefined;
  const [database, container, entity, transaction] = [repeated(), repeated(), repeated(), hexadecimal()];
  const sequenceOf = hexadecimal();
  return sequences.map((sequence, index): FeedEntry => {
    const at = (list: readonly string[]): string => list[index] as string;
    const position = transaction(at(transactions)) + sequenceOf(sequence);
    const address = {
      database: database(at(databases)),
      container: container(at(containers)),
      entity: entity(at(entities)),
      key: at(keys),
    };
    const row = rowInLine(at(versions), at(times), at(texts), at(rares));
    return { address, row: { ...row, position }, position };
  });
}

/**
 * Returns the text before, where it is the same: neighbours in the feed share most of an address.
 */
function repeated(): (text: string) => string {
  let last = '';
  return (text) => (text === last ? last : (last = text));
}

/** The part of a position: events of one transaction share the first. */
function hexadecimal(): (text: string) => string {
  let [last, digits] = ['', ''];
  return (text) => {
    if (text !== last) [last, digits] = [text, partOfPosition(numberOf(text))];
    return digits;
  };
}

/** The last row may exceed the bytes of a page; one row is always left. */
function withinFeedPage(entries: readonly FeedEntry[]): readonly FeedEntry[] {
  let bytes = 0;
  const over = entries.findIndex(({ row }) => (bytes += sizeOfValue(row.value)) > limits.feedPageBytesMax);
  return over === -1 ? entries : entries.slice(0, Math.max(1, over));
}

interface FeedPreparation {
  readonly dialect: Dialect;
  readonly name: string;
  /** Sees rows in the feed, of all databases. */
  readonly run: Run;
  readonly databases: () => Promise<readonly string[]>;
  /** Runs a statement for one database. */
  readonly runIn: (database: string, ...args: Parameters<Run>) => Promise<readonly Columns[]>;
  /** Raises the base, so that later transactions have numbers above this one. */
  readonly raise: (transaction: bigint) => Promise<FeedBase>;
  readonly warn: (message: string) => void;
}

const tooLarge = (name: string): string =>
  `${name} has rows whose positions in the feed are too large (feed_transaction from ${feedFirstEnd}): the feed never returns them, and appends may be refused. An import by an older version has put them there. To repair the table, see "Positions that are too large" in docs/guides/operate-postgres.md.`;

/**
 * Returns the base of the table's feed. A dump that was restored into a server with lower ids of
 * transactions raises it. Rows at positions that no provider gives do not: behind them there would
 * be none left, so they cause a warning. In a table that is older than the feed, events get their
 * positions first.
 */
export async function prepareFeed(preparation: FeedPreparation): Promise<FeedBase> {
  const { dialect, name, run, raise } = preparation;
  const [line = []] = await run(readFeedState(dialect), []);
  const [, , pending, largest, last, next] = line as readonly (string | undefined)[];
  const stored = feedBaseOf(line);
  const base = BigInt(stored.feedBase);
  if ([base, BigInt(largest ?? 0)].some((number) => number >= feedFirstEnd)) preparation.warn(tooLarge(name));
  const isBehind = typeof last === 'string' && BigInt(last) >= base + BigInt(next as string);
  const present = isBehind ? await raise(BigInt(last)) : stored;
  if (pending === 't') await placeEvents({ ...preparation, dialect: { ...dialect, ...present } });
  return present;
}

/** Page by page; after an interruption, a later `open` continues. */
async function placeEvents({ dialect, name, run, databases, runIn, warn }: FeedPreparation): Promise<void> {
  const statement = placeOldEvents(dialect);
  let placed = 0;
  for (const database of await databases()) {
    for (let after: readonly unknown[] = ['', '', '']; ;) {
      const [line] = await runIn(database, statement, [database, ...after, oldEventsMax], 'write');
      if (line === undefined) break;
      after = line.slice(0, 3);
      const before = placed;
      placed += Number(line[3]);
      if (Math.floor(placed / progressEach) > Math.floor(before / progressEach))
        warn(`${name}: ${placed} stored events have got their positions in the feed so far.`);
    }
  }
  await run(endFeedMigration(dialect), [], 'write');
  if (placed > 0) warn(`${name}: ${placed} stored events have got their positions in the feed.`);
}
