/**
 * A storage provider in one file: the sample of the guide 'Write your own provider'. Its engine can
 * do three things: get a document, replace one if nobody else has, and list their names. Each
 * database is one document, so a batch is one compare-and-set, and everything that the contract
 * says about batches is said by `evaluateBatch`.
 */
import {
  assertReadBytes,
  evaluateBatch,
  isLive,
  resolveOptions,
  RowTable,
  soundRows,
  SteadyTime,
  storageError,
  systemClock,
  throwIfAborted,
  withoutValue,
  type Address,
  type Batch,
  type Clock,
  type CommitResult,
  type ProviderFeatures,
  type ProviderReadOptions,
  type RawRow,
  type ReadResult,
  type Row,
  type ScanPage,
  type ScanRange,
  type StorageAdministration,
  type StorageProvider,
  type Value,
} from '@kvent/key-value-storage/provider';

// #region engine
/** What is asked of the engine: any store of texts that can compare and set. */
export interface DocumentEngine {
  /** Documents by name, all as they were at one moment; `undefined` where there is none. */
  get(names: readonly string[]): Promise<readonly (StoredDocument | undefined)[]>;
  /**
   * Puts a document, if it still has this revision (0: if there is none); answers whether it did.
   */
  compareAndSet(name: string, revision: number, text: string): Promise<boolean>;
  names(): Promise<readonly string[]>;
}
export interface StoredDocument {
  readonly revision: number;
  readonly text: string;
}
// #endregion

export interface DocumentProviderOptions {
  readonly engine: DocumentEngine;
  /** The time it runs on. @default the system's */
  readonly clock?: Clock;
}

/** One database, as it was read. */
interface Loaded {
  readonly revision: number;
  readonly table: RowTable;
}

export class DocumentProvider implements StorageProvider {
  // #region features
  readonly name = 'documents';
  readonly features: ProviderFeatures = {
    durable: 'quorum', // the engine answers when a majority has it on disk
    shared: true, // several processes may use the same documents
    staleReads: false,
    coalesce: false,
    expiry: 'exact',
    scan: 'ordered',
    clock: 'replaceable',
  };
  // #endregion
  readonly administration: StorageAdministration;
  readonly #engine: DocumentEngine;
  readonly #clock: Clock;
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #turns = new Map<string, Promise<unknown>>();
  #time: SteadyTime | undefined;

  constructor(options: DocumentProviderOptions) {
    const { engine, clock } = resolveOptions('DocumentProvider', options, { clock: systemClock }, ['engine']);
    this.#engine = engine;
    this.#clock = clock;
    this.administration = {
      databases: () => this.#run(async (time) => await this.#databases(time)),
      spaces: (database) =>
        this.#run(async (time) => (await this.#load(database, time)).table.spaces(database, time.now())),
      export: (database) => this.#export(database, this.#opened()),
      import: (database, rows) => this.#run(async (time) => await this.#import(database, rows, time)),
      drop: (database) => this.#run(async (time) => await this.#drop(database, time)),
    };
  }

  // #region lifecycle
  async open(): Promise<void> {
    if (this.#time !== undefined)
      throw storageError('INVALID_STATE', 'This DocumentProvider is already open.', {});
    this.#time = new SteadyTime(this.#clock);
  }

  async close(): Promise<void> {
    this.#time = undefined;
    await Promise.allSettled(this.#underWay);
  }

  #opened(): SteadyTime {
    if (this.#time === undefined)
      throw storageError('STORAGE_NOT_OPEN', 'This DocumentProvider is not open.', {});
    return this.#time;
  }

  /**
   * Every call goes through here: it rejects when the provider is not open, and `close` waits for
   * it.
   */
  async #run<R>(work: (time: SteadyTime) => Promise<R>): Promise<R> {
    const running = work(this.#opened());
    this.#underWay.add(running);
    try {
      return await running;
    } finally {
      this.#underWay.delete(running);
    }
  }
  // #endregion

  // #region read
  async read(addresses: readonly Address[], options: ProviderReadOptions = {}): Promise<ReadResult> {
    throwIfAborted('A read', options.signal);
    return await this.#run(async (steady) => {
      const names = [...new Set(addresses.map(({ database }) => database))];
      const documents = await this.#engine.get(names);
      const tables = new Map(names.map((name, index) => [name, parse(name, documents[index], steady).table]));
      const time = steady.now();
      const rows = addresses.map((address) => {
        const row = tables.get(address.database)?.get(address);
        if (!isLive(row, time)) return undefined;
        return options.values === 'omit' ? withoutValue(row) : row;
      });
      assertReadBytes(rows);
      return { time, rows };
    });
  }

  async scan(
    ranges: readonly ScanRange[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly ScanPage[]> {
    throwIfAborted('A scan', options.signal);
    return await this.#run(
      async (steady) =>
        await Promise.all(
          ranges.map(async (range) => {
            const { table } = await this.#load(range.database, steady);
            const time = steady.now();
            return { time, ...table.scan(range, time) };
          }),
        ),
    );
  }
  // #endregion

  // #region commit
  async commit(
    batches: readonly Batch[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly CommitResult[]> {
    throwIfAborted('A commit', options.signal);
    return await this.#run(
      async (steady) => await Promise.all(batches.map((batch) => this.#inTurn(batch, steady))),
    );
  }

  /**
   * One commit of a database after the other: right without it too, but rivals of one process would
   * only get in each other's way.
   */
  #inTurn(batch: Batch, steady: SteadyTime): Promise<CommitResult> {
    const before = this.#turns.get(batch.database) ?? Promise.resolve();
    const mine = before.catch(() => undefined).then(async () => await this.#commit(batch, steady));
    this.#turns.set(batch.database, mine);
    return mine;
  }

  async #commit(batch: Batch, steady: SteadyTime): Promise<CommitResult> {
    for (;;) {
      const { revision, table } = await this.#load(batch.database, steady);
      const now = steady.now();
      const { result, effects } = evaluateBatch(batch, (address) => table.get(address), now);
      // a conflict was judged by what is stored, and a batch that changes nothing has nothing to
      // store
      if (effects.length === 0) return result;
      table.apply(effects);
      if (await this.#save(batch.database, revision, table, now)) {
        steady.stored(now);
        return result;
      }
      // another commit was faster: judge again by what is there now
    }
  }
  // #endregion

  async sweep(limit: number): Promise<number> {
    return await this.#run(async (steady) => {
      let swept = 0;
      for (const database of await this.#engine.names()) {
        swept += await this.#change(database, steady, (table, now) => table.sweep(limit - swept, now).length);
      }
      return swept;
    });
  }

  // ─── administration

  async #databases(steady: SteadyTime): Promise<readonly string[]> {
    const found: string[] = [];
    for (const name of await this.#engine.names()) {
      const { table } = await this.#load(name, steady);
      if (table.spaces(name, steady.now()).length > 0) found.push(name);
    }
    return found.sort();
  }

  async *#export(database: string, steady: SteadyTime): AsyncGenerator<RawRow> {
    const { table } = await this.#load(database, steady);
    for (const raw of table.all()) if (isLive(raw.row, steady.now())) yield raw;
  }

  async #import(
    database: string,
    rows: AsyncIterable<RawRow> | Iterable<RawRow>,
    steady: SteadyTime,
  ): Promise<number> {
    const all: RawRow[] = [];
    for await (const raw of soundRows(database, rows)) all.push(raw);
    return await this.#change(database, steady, (table) => {
      for (const { row, ...address } of all) table.set(address, row);
      return all.length;
    });
  }

  async #drop(database: string, steady: SteadyTime): Promise<boolean> {
    let existed = false;
    await this.#change(database, steady, (table, now) => {
      existed = table.spaces(database, now).length > 0;
      const rows = [...table.all()];
      for (const address of rows) table.set(address, undefined);
      return rows.length;
    });
    return existed;
  }

  /**
   * The same loop for whatever changes a database otherwise; `change` answers how many rows it has
   * changed.
   */
  async #change(
    database: string,
    steady: SteadyTime,
    change: (table: RowTable, now: number) => number,
  ): Promise<number> {
    for (;;) {
      const { revision, table } = await this.#load(database, steady);
      const now = steady.now();
      const changed = change(table, now);
      if (changed === 0 || (await this.#save(database, revision, table, now))) return changed;
    }
  }

  // ─── documents

  async #load(database: string, steady: SteadyTime): Promise<Loaded> {
    const [document] = await this.#engine.get([database]);
    return parse(database, document, steady);
  }

  async #save(database: string, revision: number, table: RowTable, time: number): Promise<boolean> {
    const rows = Array.from(table.all(), ({ container, entity, key, row }) => [
      container,
      entity,
      key,
      packed(row),
    ]);
    return await this.#engine.compareAndSet(database, revision, JSON.stringify({ time, rows }));
  }
}

// #region document
type Packed = Omit<Row, 'value'> & { readonly kind: string; readonly value: string };

/**
 * A document as a table. What cannot be read back is said, with its place; it is never taken for an
 * empty database.
 */
function parse(database: string, document: StoredDocument | undefined, steady: SteadyTime): Loaded {
  const table = new RowTable();
  if (document === undefined) return { revision: 0, table };
  try {
    const { time, rows } = JSON.parse(document.text) as {
      time: number;
      rows: [string, string, string, Packed][];
    };
    for (const [container, entity, key, row] of rows) table.set({ container, entity, key }, unpacked(row));
    // so that time does not go back when this process's clock is behind
    steady.stored(time);
    return { revision: document.revision, table };
  } catch (cause) {
    throw storageError(
      'STORAGE_CORRUPT',
      `The document of ${database} cannot be read back.`,
      { place: database },
      { cause },
    );
  }
}

/** JSON has no 64-bit numbers and no bytes. */
function packed({ value, ...row }: Row): Packed {
  if (value.kind === 'json') return { ...row, kind: 'json', value: value.text };
  if (value.kind === 'number') return { ...row, kind: 'number', value: value.number.toString() };
  return {
    ...row,
    kind: 'bytes',
    value: value.kind === 'bytes' ? Buffer.from(value.bytes).toString('base64') : '',
  };
}

function unpacked({ kind, value, ...row }: Packed): Row {
  return { ...row, value: valueOf(kind, value) };
}

function valueOf(kind: string, value: string): Value {
  if (kind === 'json') return { kind, text: value };
  if (kind === 'number') return { kind, number: BigInt(value) };
  if (kind === 'bytes') return { kind, bytes: new Uint8Array(Buffer.from(value, 'base64')) };
  throw new TypeError(`A value of the kind ${kind} is not known.`);
}
// #endregion
