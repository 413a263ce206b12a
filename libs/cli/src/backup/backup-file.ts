/**
 * A backup as the source of a copy. It is verified from the first line to the last when it is
 * opened.
 */
import type { CopySource } from '@kvent/key-value-storage/core';
import { throwIfAborted, type RawRow } from '@kvent/key-value-storage/provider';
import { BackupReader } from './backup-reader.js';
import type { BackupSummary, Header } from './format.js';

export class BackupFile implements CopySource, AsyncDisposable {
  readonly name: string;
  readonly header: Header;
  readonly summary: BackupSummary;
  readonly administration: CopySource['administration'] = {
    databases: async () => this.summary.databases.map(({ database }) => database),
    count: async (database) => this.summary.databases.find((each) => each.database === database)?.rows ?? 0,
    export: (database) => this.#rows(database),
  };
  readonly #path: string;
  /** A reader at the end of a database, for the next database. */
  #reader: BackupReader | undefined;

  private constructor(path: string, header: Header, summary: BackupSummary) {
    this.#path = path;
    this.name = `backup ${path}`;
    this.header = header;
    this.summary = summary;
  }

  /**
   * Reads the whole file. `STORAGE_CORRUPT`, with the line, if it is damaged or cut off;
   * `INVALID_OPTION` if it is not a backup. `onRows` is called every 1,000 rows.
   */
  static async open(
    path: string,
    signal?: AbortSignal,
    onRows?: (rows: number) => void,
  ): Promise<BackupFile> {
    await using reader = new BackupReader(path);
    const header = await reader.header();
    let rows = 0;
    while ((await reader.nextDatabase()) !== undefined) {
      for await (const _ of reader.rows()) {
        throwIfAborted('The reading of the backup', signal);
        if ((rows += 1) % 1_000 === 0) onRows?.(rows);
      }
    }
    return new BackupFile(path, header, await reader.summary());
  }

  /** A file has no time, so no row in it expires; single rows cannot be read. */
  async read(addresses: Parameters<CopySource['read']>[0]): ReturnType<CopySource['read']> {
    return { time: 0, rows: addresses.map(() => undefined) };
  }

  async *#rows(database: string): AsyncGenerator<RawRow, undefined> {
    const reader = (await this.#continueTo(database)) ?? (await this.#fromStart(database));
    let finished = false;
    try {
      if (reader !== undefined) yield* reader.rows();
      finished = true;
    } finally {
      // concurrent exports have a reader each, and one of them is kept
      if (finished && this.#reader === undefined) this.#reader = reader;
      else await reader?.[Symbol.asyncDispose]();
    }
    return undefined;
  }

  /** The current reader at this database; `undefined` if it is past it. */
  async #continueTo(database: string): Promise<BackupReader | undefined> {
    const reader = this.#reader;
    this.#reader = undefined;
    return reader && (await disposedUnlessFound(reader, () => findDatabase(reader, database)));
  }

  async #fromStart(database: string): Promise<BackupReader | undefined> {
    const reader = new BackupReader(this.#path);
    return await disposedUnlessFound(reader, async () => {
      await reader.header();
      return await findDatabase(reader, database);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader?.[Symbol.asyncDispose]();
  }
}

/** Skips databases. Returns whether the reader is at this database. */
async function findDatabase(reader: BackupReader, database: string): Promise<boolean> {
  for (;;) {
    const found = await reader.nextDatabase();
    if (found === undefined || found === database) return found === database;
  }
}

/** The reader if it has found its database. Otherwise, or if that fails, its file is closed. */
async function disposedUnlessFound(
  reader: BackupReader,
  find: () => Promise<boolean>,
): Promise<BackupReader | undefined> {
  let isFound = false;
  try {
    isFound = await find();
  } finally {
    if (!isFound) await reader[Symbol.asyncDispose]();
  }
  return isFound ? reader : undefined;
}
