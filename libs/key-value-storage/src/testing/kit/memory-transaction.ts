/**
 * A transaction over the memory provider, for clauses that require one. Its writes are visible
 * inside it only until it commits. Its commit fails if one of the rows that it read or wrote has
 * changed since.
 */
import type { StorageProvider } from '../../core.js';
import {
  assertReadBytes,
  evaluateBatch,
  invalidOption,
  RowTable,
  type Batch,
  type CommitResult,
  type RowAddress,
} from '../../provider.js';

interface Touched {
  readonly address: RowAddress;
  readonly database: string;
  readonly version: string | undefined;
}

export class MemoryTransaction {
  readonly #outside: StorageProvider;
  readonly #tables = new Map<string, RowTable>();
  readonly #touched = new Map<string, Touched>();
  readonly #written: Batch[] = [];
  #ended = false;

  constructor(outside: StorageProvider) {
    this.#outside = outside;
  }

  /** The provider inside the transaction. */
  provider(): StorageProvider {
    const outside = this.#outside;
    this.#assertOpen();
    return {
      ...outside,
      administration: outside.administration,
      read: async (addresses) => {
        const { time } = await outside.read([]);
        const rows = [];
        for (const address of addresses) rows.push((await this.#table(address.database)).get(address));
        assertReadBytes(rows);
        return { time, rows };
      },
      scan: async (ranges) => {
        const { time } = await outside.read([]);
        const pages = [];
        for (const range of ranges)
          pages.push({ time, ...(await this.#table(range.database)).scan(range, time) });
        return pages;
      },
      commit: async (batches) => {
        const results: CommitResult[] = [];
        for (const batch of batches) results.push(await this.#commit(batch));
        return results;
      },
    };
  }

  /** Rejects, and changes nothing, if a row of the transaction has changed. */
  async commit(): Promise<void> {
    this.#end();
    for (const { database, address, version } of this.#touched.values()) {
      const { rows } = await this.#outside.read([{ ...address, database }]);
      if (rows[0]?.version !== version) throw new Error('A row of this transaction has changed.');
    }
    for (const batch of this.#written) await this.#outside.commit([{ ...batch, checks: [] }]);
  }

  async rollback(): Promise<void> {
    this.#end();
    await Promise.resolve();
  }

  async #commit(batch: Batch): Promise<CommitResult> {
    const { time } = await this.#outside.read([]);
    const table = await this.#table(batch.database);
    for (const { address } of [...batch.checks, ...batch.changes]) await this.#touch(batch.database, address);
    const { result, effects } = evaluateBatch(batch, (address) => table.get(address), time);
    table.apply(effects);
    if (result.outcome === 'committed') this.#written.push(batch);
    return result;
  }

  async #touch(database: string, address: RowAddress): Promise<void> {
    const name = [database, address.container, address.entity, address.key].join('\0');
    if (this.#touched.has(name)) return;
    const { rows } = await this.#outside.read([{ ...address, database }]);
    this.#touched.set(name, { database, address, version: rows[0]?.version });
  }

  async #table(database: string): Promise<RowTable> {
    this.#assertOpen();
    let table = this.#tables.get(database);
    if (table !== undefined) return table;
    this.#tables.set(database, (table = new RowTable()));
    for await (const { row, ...address } of this.#outside.administration.export(database))
      table.set(address, row);
    return table;
  }

  #end(): void {
    this.#assertOpen();
    this.#ended = true;
  }

  #assertOpen(): void {
    if (this.#ended) throw invalidOption('This transaction has ended.');
  }
}
