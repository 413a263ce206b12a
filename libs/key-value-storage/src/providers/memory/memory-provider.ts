/** Rows in this process's memory, for tests and for data that may be lost. */
import { throwIfAborted } from '../../core/base/abort.js';
import { SteadyTime, systemClock, type Clock } from '../../core/base/clock.js';
import { isStorageError, partlyImported, storageError } from '../../core/base/errors.js';
import { evaluateBatch, isLive } from '../../core/port/evaluate-batch.js';
import { assertMayExport, FrozenView } from '../../core/providers/frozen-view.js';
import { HintSource } from '../../core/providers/hint-source.js';
import { invalidState, resolveOptions } from '../../core/base/options.js';
import { PositionCounter } from '../../core/port/feed-position.js';
import { ImportedPositions, isPlaced } from '../../core/port/imported-positions.js';
import { assertReadBytes } from '../../core/port/page-bytes.js';
import { soundRows } from '../../core/port/raw-row.js';
import { FeedIndex } from '../../core/providers/feed-index.js';
import { RowTable, withoutValue } from '../../core/providers/row-table.js';
import type {
  Address,
  Batch,
  CommitResult,
  CountRange,
  ExportPart,
  FeedPage,
  FeedPosition,
  FeedRequest,
  Hint,
  HintTarget,
  ProviderFeatures,
  RawRow,
  ProviderReadOptions,
  ReadResult,
  Row,
  RowAddress,
  ScanPage,
  ScanRange,
  Space,
  StorageAdministration,
  StorageProvider,
} from '../../core/port/storage-provider.js';

export interface MemoryProviderOptions {
  /** @default the system's clock */
  readonly clock?: Clock;
}

const defaults = { clock: systemClock };

export class MemoryProvider implements StorageProvider {
  readonly name = 'memory';
  readonly features: ProviderFeatures = {
    durable: false,
    shared: false,
    staleReads: false,
    coalesce: false,
    expiry: 'exact',
    scan: 'ordered',
    clock: 'replaceable',
    feed: true,
  };
  readonly administration: StorageAdministration = {
    databases: async () => this.#open().databases(),
    spaces: async (database) => this.#open().spaces(database),
    export: (database, part) => this.#open().export(database, part),
    import: async (database, rows) => await this.#open().import(database, rows),
    drop: async (database) => this.#open().drop(database),
  };
  readonly clock: Clock | undefined;
  readonly #clock: Clock;
  #rows: Rows | undefined;

  constructor(options: MemoryProviderOptions = {}) {
    this.#clock = resolveOptions('MemoryProvider', options, defaults).clock;
    this.clock = options.clock;
  }

  async open(): Promise<void> {
    if (this.#rows !== undefined)
      throw invalidState('This MemoryProvider is already open; give each storage a provider of its own.');
    this.#rows = new Rows(new SteadyTime(this.#clock));
  }

  async close(): Promise<void> {
    this.#rows?.hints.end();
    this.#rows = undefined;
  }

  async read(addresses: readonly Address[], options: ProviderReadOptions = {}): Promise<ReadResult> {
    throwIfAborted('A read', options.signal);
    return this.#open().read(addresses, options.values === 'omit');
  }

  async scan(
    ranges: readonly ScanRange[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly ScanPage[]> {
    throwIfAborted('A scan', options.signal);
    return this.#open().scan(ranges);
  }

  async count(
    range: CountRange,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<number> {
    throwIfAborted('A count', options.signal);
    return this.#open().count(range);
  }

  async commit(
    batches: readonly Batch[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly CommitResult[]> {
    throwIfAborted('A commit', options.signal);
    const rows = this.#open();
    // most calls have one batch: 4 % of a write
    return batches.length === 1
      ? [rows.commit(batches[0] as Batch)]
      : batches.map((batch) => rows.commit(batch));
  }

  hints(targets: readonly HintTarget[], signal: AbortSignal): AsyncIterable<Hint> {
    return this.#open().hints.listen(targets, signal);
  }

  async feed(request: FeedRequest): Promise<FeedPage> {
    throwIfAborted('A read of the feed', request.signal);
    return this.#open().feedPage(request);
  }

  async sweep(limit: number): Promise<number> {
    return this.#open().sweep(limit);
  }

  #open(): Rows {
    if (this.#rows === undefined)
      throw storageError('STORAGE_NOT_OPEN', 'This MemoryProvider is not open.', {});
    return this.#rows;
  }
}

/** The databases of an open provider. */
class Rows {
  readonly hints = new HintSource();
  readonly #time: SteadyTime;
  readonly #tables = new Map<string, RowTable>();
  /** Exports that are being read. */
  readonly #views = new Map<RowTable, Set<FrozenView>>();
  readonly #feed = new FeedIndex();
  readonly #positions = new PositionCounter();

  constructor(time: SteadyTime) {
    this.#time = time;
  }

  read(addresses: readonly Address[], omit: boolean): ReadResult {
    const time = this.#time.now();
    const rows = addresses.map((address) => {
      const row = this.#tables.get(address.database)?.get(address);
      if (!isLive(row, time)) return undefined;
      return omit ? withoutValue(row) : row;
    });
    assertReadBytes(rows);
    return { time, rows };
  }

  scan(ranges: readonly ScanRange[]): readonly ScanPage[] {
    const time = this.#time.now();
    return ranges.map((range) => ({
      time,
      ...(this.#tables.get(range.database)?.scan(range, time) ?? { rows: [], more: false }),
    }));
  }

  count(range: CountRange): number {
    return this.#tables.get(range.database)?.count(range, this.#time.now()) ?? 0;
  }

  commit(batch: Batch): CommitResult {
    const now = this.#time.now();
    const table = this.#tables.get(batch.database);
    const { result, effects } = evaluateBatch(
      batch,
      (address) => table?.get(address),
      now,
      this.#positions.next,
    );
    if (effects.length === 0) return result;
    this.#time.stored(now);
    const changed = table ?? this.#create(batch.database);
    if (this.#views.size > 0)
      this.#preserve(
        changed,
        effects.map(({ address }) => address),
      );
    changed.apply(effects);
    this.#forgetEmpty(batch.database, changed);
    this.hints.committed(batch.database, effects);
    if (result.outcome === 'committed' && result.position !== undefined) this.hints.feedMoved();
    return result;
  }

  feedPage(request: FeedRequest): FeedPage {
    return this.#feed.page(request, {
      rowAt: ({ database, address }) => this.#tables.get(database)?.get(address),
      time: this.#time.now(),
      horizon: this.#positions.last,
    });
  }

  sweep(limit: number): number {
    const now = this.#time.now();
    let swept = 0;
    for (const [database, table] of this.#tables) {
      this.#preserve(table, table.expired(limit - swept, now));
      const gone = table.sweep(limit - swept, now);
      this.#forgetEmpty(database, table);
      this.hints.changed(database, gone);
      swept += gone.length;
    }
    return swept;
  }

  databases(): readonly string[] {
    return [...this.#tables.keys()].filter((database) => this.spaces(database).length > 0).sort();
  }

  spaces(database: string): readonly Space[] {
    return this.#tables.get(database)?.spaces(database, this.#time.now()) ?? [];
  }

  /** The rows at the moment of the first read. */
  async *export(database: string, part?: ExportPart): AsyncGenerator<RawRow> {
    const now = this.#time.now();
    const table = this.#tables.get(database);
    if (table === undefined) return;
    const views = this.#views.get(table) ?? new Set();
    assertMayExport(database, views.size);
    const view = new FrozenView(
      table,
      () => {
        views.delete(view);
        if (views.size === 0) this.#views.delete(table);
      },
      part,
    );
    this.#views.set(table, views.add(view));
    try {
      for (const page of view.pages()) for (const raw of page) if (isLive(raw.row, now)) yield raw;
    } finally {
      view.release();
    }
  }

  /** Called before rows of a table change. */
  #preserve(table: RowTable, addresses: readonly RowAddress[]): void {
    for (const view of this.#views.get(table) ?? []) for (const address of addresses) view.preserve(address);
  }

  async import(database: string, rows: AsyncIterable<RawRow> | Iterable<RawRow>): Promise<number> {
    const positions = new ImportedPositions();
    let count = 0;
    try {
      for await (const raw of soundRows(database, rows)) {
        const { row: _, ...address } = raw;
        const table = this.#tables.get(database) ?? this.#create(database);
        this.#preserve(table, [address]);
        const row = this.#positioned(raw, table.get(address), positions);
        table.set(address, row);
        this.hints.changed(database, [address]);
        if (row.position !== undefined) this.hints.feedMoved();
        count += 1;
      }
    } catch (error) {
      throw isStorageError(error) ? partlyImported(error, count) : error;
    }
    return count;
  }

  drop(database: string): boolean {
    const existed = this.spaces(database).length > 0;
    const gone = [...(this.#tables.get(database)?.all() ?? [])];
    for (const { row } of gone) if (row.position !== undefined) this.#feed.delete(row.position);
    this.#tables.delete(database);
    this.hints.changed(database, gone);
    return existed;
  }

  #positioned(raw: RawRow, stored: Row | undefined, positions: ImportedPositions): Row {
    const { row } = raw;
    if (!isPlaced(raw)) return row;
    const isTaken = (position: FeedPosition): boolean =>
      position !== stored?.position && this.#feed.has(position);
    const position = positions.positionOf(raw, stored, isTaken);
    if (position === undefined) return { ...row, position: this.#positions.next() };
    this.#positions.advanceTo(position);
    return { ...row, position };
  }

  /** Names of databases come from clients: those without rows must not fill the memory. */
  #forgetEmpty(database: string, table: RowTable): void {
    if (table.size === 0) this.#tables.delete(database);
  }

  #create(database: string): RowTable {
    const table = new RowTable({ index: this.#feed, database });
    this.#tables.set(database, table);
    return table;
  }
}
