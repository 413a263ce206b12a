/**
 * The sample of the guide 'Write your own provider': a storage provider in one file. Its engine
 * gets documents, replaces one by compare-and-set, and lists their names. Each database is one
 * document, so a batch is one compare-and-set; `evaluateBatch` holds all other rules of batches.
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

/** A store of texts with compare-and-set. */
export interface DocumentEngine {
  /** Documents by name, all as of one moment; `undefined` where there is none. */
  get(names: readonly string[]): Promise<readonly (StoredDocument | undefined)[]>;
  /** Puts a document if it has this revision (0: if there is none); returns whether it did. */
  compareAndSet(name: string, revision: number, text: string): Promise<boolean>;
  names(): Promise<readonly string[]>;
}
export interface StoredDocument {
  readonly revision: number;
  readonly text: string;
}

export interface DocumentProviderOptions {
  readonly engine: DocumentEngine;
  /** @default the system's clock */
  readonly clock?: Clock;
}

type CallOptions = Pick<ProviderReadOptions, 'signal'>;

/** One database, as it was read. */
interface LoadedDatabase {
  readonly revision: number;
  readonly table: RowTable;
}

export class DocumentProvider implements StorageProvider {
  readonly name = 'documents';
  readonly features: ProviderFeatures = {
    durable: 'quorum', // the engine confirms a write when a majority has it on disk
    shared: true, // several processes may use the same documents
    staleReads: false,
    coalesce: false,
    expiry: 'exact',
    scan: 'ordered',
    clock: 'replaceable',
    feed: false, // it has no `feed`
  };
  readonly administration: StorageAdministration;
  readonly #engine: DocumentEngine;
  readonly #clock: Clock;
  readonly #pending = new Set<Promise<unknown>>();
  readonly #lastCommits = new Map<string, Promise<unknown>>();
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

  async open(): Promise<void> {
    if (this.#time !== undefined)
      throw storageError('INVALID_STATE', 'This DocumentProvider is already open.', {});
    this.#time = new SteadyTime(this.#clock);
  }

  async close(): Promise<void> {
    this.#time = undefined;
    await Promise.allSettled(this.#pending);
  }

  #opened(): SteadyTime {
    if (this.#time === undefined)
      throw storageError('STORAGE_NOT_OPEN', 'This DocumentProvider is not open.', {});
    return this.#time;
  }

  /** Runs each call: rejects while the provider is not open; `close` waits for the call. */
  async #run<R>(work: (time: SteadyTime) => Promise<R>): Promise<R> {
    const running = work(this.#opened());
    this.#pending.add(running);
    try {
      return await running;
    } finally {
      this.#pending.delete(running);
    }
  }

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

  async scan(ranges: readonly ScanRange[], options: CallOptions = {}): Promise<readonly ScanPage[]> {
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

  async commit(batches: readonly Batch[], options: CallOptions = {}): Promise<readonly CommitResult[]> {
    throwIfAborted('A commit', options.signal);
    return await this.#run(
      async (steady) => await Promise.all(batches.map((batch) => this.#commitInOrder(batch, steady))),
    );
  }

  /** Commits of one database run one after the other: concurrent ones would only retry. */
  #commitInOrder(batch: Batch, steady: SteadyTime): Promise<CommitResult> {
    const before = this.#lastCommits.get(batch.database) ?? Promise.resolve();
    const commit = before.catch(() => undefined).then(async () => await this.#commit(batch, steady));
    this.#lastCommits.set(batch.database, commit);
    return commit;
  }

  async #commit(batch: Batch, steady: SteadyTime): Promise<CommitResult> {
    for (;;) {
      const { revision, table } = await this.#load(batch.database, steady);
      const now = steady.now();
      const { result, effects } = evaluateBatch(batch, (address) => table.get(address), now);
      // a conflict, or a batch without effect: nothing to store
      if (effects.length === 0) return result;
      table.apply(effects);
      if (await this.#save(batch.database, revision, table, now)) {
        steady.stored(now);
        return result;
      }
      // another commit was faster: evaluate again on its result
    }
  }

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
   * The same loop for every other change of a database; `change` returns how many rows it changed.
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

  async #load(database: string, steady: SteadyTime): Promise<LoadedDatabase> {
    const [document] = await this.#engine.get([database]);
    return parse(database, document, steady);
  }

  async #save(database: string, revision: number, table: RowTable, time: number): Promise<boolean> {
    const rows = Array.from(table.all(), ({ row, ...at }) => [at.container, at.entity, at.key, packed(row)]);
    return await this.#engine.compareAndSet(database, revision, JSON.stringify({ time, rows }));
  }
}

type Packed = Omit<Row, 'value'> & { readonly kind: string; readonly value: string };
interface PackedTable {
  readonly time: number;
  readonly rows: readonly (readonly [container: string, entity: string, key: string, row: Packed])[];
}

/** A document as a table. One that cannot be read is an error, never an empty database. */
function parse(database: string, document: StoredDocument | undefined, steady: SteadyTime): LoadedDatabase {
  const table = new RowTable();
  if (document === undefined) return { revision: 0, table };
  try {
    const { time, rows } = JSON.parse(document.text) as PackedTable;
    for (const [container, entity, key, row] of rows) table.set({ container, entity, key }, unpacked(row));
    // time must not go back where this process's clock is behind
    steady.stored(time);
    return { revision: document.revision, table };
  } catch (cause) {
    const message = `The document of ${database} cannot be read back.`;
    throw storageError('STORAGE_CORRUPT', message, { place: database }, { cause });
  }
}

/** JSON has no 64-bit numbers and no bytes. */
function packed({ value, ...row }: Row): Packed {
  if (value.kind === 'json') return { ...row, kind: 'json', value: value.text };
  if (value.kind === 'number') return { ...row, kind: 'number', value: value.number.toString() };
  const bytes = value.kind === 'bytes' ? value.bytes : [];
  return { ...row, kind: 'bytes', value: Buffer.from(bytes).toString('base64') };
}

const unpacked = ({ kind, value, ...row }: Packed): Row => ({ ...row, value: valueOf(kind, value) });

function valueOf(kind: string, value: string): Value {
  if (kind === 'json') return { kind, text: value };
  if (kind === 'number') return { kind, number: BigInt(value) };
  if (kind === 'bytes') return { kind, bytes: new Uint8Array(Buffer.from(value, 'base64')) };
  throw new TypeError(`The kind of a value must be json, number or bytes; got ${kind}.`);
}
