/**
 * Reads a backup once, from start to end. It counts and hashes all lines, and so finds any damage.
 */
import { createHash } from 'node:crypto';
import { isStorageError } from '@kvent/key-value-storage/core';
import { storageError, type RawRow } from '@kvent/key-value-storage/provider';
import {
  compareAddresses,
  inspect,
  faultOfDatabase,
  faultOfRow,
  hashOfDatabases,
  messageOf,
  placeOf,
  readRowLine,
  RowDigest,
} from '@kvent/key-value-storage/internal';
import { format, type BackupSummary, type Header, type Section } from './format.js';
import { NotPlainFile } from '../input/plain-file.js';
import { linesOf, LineTooLong } from './lines.js';

type Line = { readonly [name: string]: unknown };

export class BackupReader implements AsyncDisposable {
  readonly #path: string;
  readonly #lines: AsyncGenerator<Buffer, undefined>;
  readonly #hash = createHash('sha256');
  readonly #sections: Section[] = [];
  readonly #databases = new Set<string>();
  #number = 0;
  /** The hash of all lines before the last one. */
  #before = '';
  /** The database of the next rows. */
  #database: string | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#lines = linesOf(path);
  }

  /**
   * Reads the first line. `INVALID_OPTION` if it is not a plain file or not a backup;
   * `STORAGE_UNSUPPORTED` if a later release wrote it.
   */
  async header(): Promise<Header> {
    const line = await this.#next();
    const header = parsed(line) as Partial<Header> | undefined;
    if (header?.kvent !== 'backup')
      throw storageError('INVALID_OPTION', `${this.#path} is not a backup of kvent.`, {});
    if (header.format !== format) {
      const given = inspect(header.format);
      throw storageError(
        'STORAGE_UNSUPPORTED',
        `${this.#path} is of format ${given}; this release reads format ${format}.`,
        {},
      );
    }
    return header as Header;
  }

  /**
   * Skips the rest of the current database, and goes to the next; `undefined` if it was the last.
   */
  async nextDatabase(): Promise<string | undefined> {
    for await (const _ of this.rows());
    const line = await this.#next();
    const { database, ...rest } = parsed(line) ?? {};
    if (typeof database === 'string') {
      this.#start(database);
      return database;
    }
    await this.#end(rest);
    return undefined;
  }

  /**
   * The rows of the current database. `STORAGE_CORRUPT`, at its end at the latest, if it is
   * damaged.
   */
  async *rows(): AsyncGenerator<RawRow, undefined> {
    const database = this.#database;
    if (database === undefined) return undefined;
    const first = this.#number + 1;
    const digest = new RowDigest();
    let before: RawRow | undefined;
    for (;;) {
      const line = (await this.#next()).toString();
      if (line.startsWith('{"end":')) {
        this.#close(database, parsed(line) ?? {}, await digest.end(), first);
        return undefined;
      }
      const raw = this.#row(database, line);
      if (before !== undefined && compareAddresses(before, raw) >= 0)
        throw this.#damaged('the rows are not in order');
      before = raw;
      await digest.add(raw, line);
      yield raw;
    }
  }

  /** The summary of everything read. */
  async summary(): Promise<BackupSummary> {
    const databases = this.#sections;
    return {
      databases,
      rows: databases.reduce((sum, { rows }) => sum + rows, 0),
      sha256: await hashOfDatabases(databases),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lines.return(undefined);
  }

  #start(database: string): void {
    const fault = faultOfDatabase(database);
    if (fault !== undefined) throw this.#damaged(fault);
    if (this.#databases.has(database)) throw this.#damaged(`the database ${inspect(database)} is repeated`);
    this.#databases.add(database);
    this.#database = database;
  }

  #row(database: string, line: string): RawRow {
    let raw: RawRow;
    try {
      raw = readRowLine(line);
    } catch (error) {
      throw this.#damaged(`the line is not a row (${inspect(messageOf(error))})`);
    }
    const fault = faultOfRow(raw);
    if (fault !== undefined)
      throw this.#damaged(`the row ${placeOf(database, raw)} cannot be read back: ${fault}`);
    return raw;
  }

  #close(
    database: string,
    end: Line,
    { rows, sha256 }: Pick<Section, 'rows' | 'sha256'>,
    first: number,
  ): void {
    this.#database = undefined;
    if (end['end'] !== database) throw this.#damaged(`the database ${inspect(database)} does not end here`);
    if (end['rows'] !== rows || end['sha256'] !== sha256)
      throw this.#damaged(
        `the rows of ${inspect(database)}, from line ${first} to ${this.#number - 1}, are not the rows that were written`,
      );
    this.#sections.push({ database, rows, sha256 });
  }

  async #end({ kvent, databases, rows, sha256, before }: Line): Promise<void> {
    const found = await this.summary();
    const same =
      kvent === 'end' &&
      databases === found.databases.length &&
      rows === found.rows &&
      sha256 === found.sha256;
    if (!same || before !== this.#before)
      throw this.#damaged('the lines before this one are not the lines that were written');
    if ((await this.#read()) !== undefined) throw this.#damaged('there is data after the last line');
  }

  async #next(): Promise<Buffer> {
    const line = await this.#read();
    if (line === undefined) throw this.#damaged('it ends before its last line');
    return line;
  }

  async #read(): Promise<Buffer | undefined> {
    let line: IteratorResult<Buffer, undefined>;
    try {
      line = await this.#lines.next();
    } catch (error) {
      if (isStorageError(error)) throw error;
      this.#number += 1;
      if (error instanceof NotPlainFile)
        throw storageError('INVALID_OPTION', `${this.#path} must be a plain file to be a backup.`, {});
      throw error instanceof LineTooLong
        ? this.#damaged(error.message)
        : this.#unreadable(error as NodeJS.ErrnoException);
    }
    this.#number += 1;
    if (line.done === true) return undefined;
    // the last line contains the hash of the lines before it
    if (line.value.subarray(0, lastLine.length).equals(lastLine))
      this.#before = this.#hash.copy().digest('hex');
    else this.#hash.update(line.value).update('\n');
    return line.value;
  }

  #unreadable(error: NodeJS.ErrnoException): Error {
    if (/^Z_/.test(error.code ?? '')) return this.#damaged(`it cannot be decompressed (${error.message})`);
    return storageError(
      'STORAGE_UNAVAILABLE',
      `${this.#path} cannot be read: ${error.message}.`,
      {},
      { cause: error },
    );
  }

  #damaged(what: string): Error {
    const place = `${this.#path}:${this.#number}`;
    return storageError('STORAGE_CORRUPT', `The backup is damaged at ${place}: ${what}.`, { place });
  }
}

const lastLine = Buffer.from('{"kvent":"end",');

function parsed(line: Buffer | string): Line | undefined {
  try {
    const value: unknown = JSON.parse(line.toString());
    return typeof value === 'object' && value !== null ? (value as Line) : undefined;
  } catch {
    return undefined;
  }
}
