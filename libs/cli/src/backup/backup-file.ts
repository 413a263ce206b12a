/**
 * A backup as a source of copies: it was read once, from the first line to the last, before
 * anything is taken from it.
 */
import type { CopySource } from '@kvent/key-value-storage/core';
import { throwIfAborted, type RawRow } from '@kvent/key-value-storage/provider';
import { BackupPass } from './backup-pass.js';
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
  /** A pass that has come to the end of some database: the next one may lie right behind. */
  #pass: BackupPass | undefined;

  private constructor(path: string, header: Header, summary: BackupSummary) {
    this.#path = path;
    this.name = `backup ${path}`;
    this.header = header;
    this.summary = summary;
  }

  /**
   * Reads all of it. `STORAGE_CORRUPT` where it is damaged or cut off, naming the line;
   * `INVALID_OPTION` where it is no backup. `onRows` hears how many rows were read, now and then.
   */
  static async open(
    path: string,
    signal?: AbortSignal,
    onRows?: (rows: number) => void,
  ): Promise<BackupFile> {
    await using pass = new BackupPass(path);
    const header = await pass.header();
    let rows = 0;
    while ((await pass.section()) !== undefined) {
      for await (const _ of pass.rows()) {
        throwIfAborted('The reading of the backup', signal);
        if ((rows += 1) % 1_000 === 0) onRows?.(rows);
      }
    }
    return new BackupFile(path, header, await pass.summary());
  }

  /**
   * A file holds rows and no time: nothing has expired in it, and whoever asks for single rows
   * finds none.
   */
  async read(addresses: Parameters<CopySource['read']>[0]): ReturnType<CopySource['read']> {
    return { time: 0, rows: addresses.map(() => undefined) };
  }

  async *#rows(database: string): AsyncGenerator<RawRow, undefined> {
    const pass = (await this.#at(database)) ?? (await this.#fromTheFront(database));
    let finished = false;
    try {
      if (pass !== undefined) yield* pass.rows();
      finished = true;
    } finally {
      if (finished) this.#pass = pass;
      else await pass?.[Symbol.asyncDispose]();
    }
    return undefined;
  }

  /**
   * The pass that is under way, gone on to this database; `undefined` where that lies behind it.
   */
  async #at(database: string): Promise<BackupPass | undefined> {
    const pass = this.#pass;
    this.#pass = undefined;
    return pass && (await goTo(pass, database));
  }

  async #fromTheFront(database: string): Promise<BackupPass | undefined> {
    const pass = new BackupPass(this.#path);
    await pass.header();
    return await goTo(pass, database);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pass?.[Symbol.asyncDispose]();
  }
}

/** Disposes a pass that ends before it gets there, or fails on the way. */
async function goTo(pass: BackupPass, database: string): Promise<BackupPass | undefined> {
  let found: string | undefined;
  try {
    do found = await pass.section();
    while (found !== undefined && found !== database);
  } finally {
    if (found === undefined) await pass[Symbol.asyncDispose]();
  }
  return found === undefined ? undefined : pass;
}
