/**
 * Writes a backup to a temporary file, syncs it, reads it back, and only then gives it its name.
 * So a file with the name of a backup is complete.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { isStorageError, type CopySource } from '@kvent/key-value-storage/core';
import { storageError } from '@kvent/key-value-storage/provider';
import {
  CopiedRows,
  hashOfDatabases,
  isError,
  messageOf,
  RowDigest,
  rowLine,
  unfinishedCopy,
} from '@kvent/key-value-storage/internal';
import { UsageError } from '../input/usage-error.js';
import { BackupFile } from './backup-file.js';
import { format, isCompressed, type BackupSummary, type Header, type Section } from './format.js';
import { putInPlace } from './put-in-place.js';

interface BackupOptions {
  /** In the order of the source. */
  readonly databases: readonly string[];
  readonly signal: AbortSignal;
  /** Whether an existing file is overwritten. @default false */
  readonly replace?: boolean;
  /** Whether it is overwritten by a backup without rows too. @default false */
  readonly allowEmpty?: boolean;
  /** Called every 1,000 rows. */
  readonly onRows: (step: 'writing' | 'reading back', rows: number, database: string | undefined) => void;
}

/**
 * Each database is a snapshot of the moment when its turn comes; writers are not blocked. Expired
 * rows and leases of sessions are not included, as in a copy. A failure leaves no file.
 */
export async function writeBackup(
  source: CopySource,
  path: string,
  options: BackupOptions,
): Promise<BackupSummary> {
  for (const database of options.databases) await assertFinished(source, database);
  const temporary = `${path}.${randomBytes(8).toString('hex')}.tmp`;
  try {
    const written = await write(source, temporary, options);
    const found = await BackupFile.open(temporary, options.signal, (rows) =>
      options.onRows('reading back', rows, undefined),
    );
    await found[Symbol.asyncDispose]();
    if (found.summary.sha256 !== written.sha256)
      throw storageError('STORAGE_CORRUPT', `What was read back from ${temporary} is not what was written.`, {
        place: temporary,
      });
    await putInPlace(temporary, path, { ...options, isEmpty: written.rows === 0 });
    return written;
  } catch (error) {
    await rm(temporary, { force: true });
    throw isStorageError(error) || error instanceof UsageError ? error : notWritten(path, error);
  }
}

async function assertFinished(source: CopySource, database: string): Promise<void> {
  const unfinished = await unfinishedCopy(source, database);
  if (unfinished === undefined) return;
  throw storageError(
    'INVALID_OPTION',
    `'${database}' of ${source.name} is ${unfinished}: finish that one first.`,
    {},
  );
}

async function write(source: CopySource, path: string, options: BackupOptions): Promise<BackupSummary> {
  const lines = new BackupLines(source, options);
  const file = createWriteStream(path, { flags: 'wx', flush: true, mode: 0o600 });
  const text = Readable.from(lines.chunks(), { objectMode: false, highWaterMark: 1 });
  if (isCompressed(path.replace(/\.[0-9a-f]{16}\.tmp$/, '')))
    await pipeline(text, createGzip(), file, { signal: options.signal });
  else await pipeline(text, file, { signal: options.signal });
  return lines.summary;
}

const chunkLength = 64 * 1_024;

class BackupLines {
  summary: BackupSummary = { databases: [], rows: 0, sha256: '' };
  readonly #source: CopySource;
  readonly #options: BackupOptions;
  readonly #hash = createHash('sha256');
  #rows = 0;

  constructor(source: CopySource, options: BackupOptions) {
    this.#source = source;
    this.#options = options;
  }

  /** The text of a whole backup. */
  async *chunks(): AsyncGenerator<Buffer, undefined> {
    let chunk = '';
    for await (const line of this.#lines()) {
      chunk += `${line}\n`;
      if (chunk.length >= chunkLength) {
        yield this.#hashed(chunk);
        chunk = '';
      }
    }
    yield this.#hashed(chunk);
    const { databases, rows, sha256 } = this.summary;
    const last = {
      kvent: 'end',
      databases: databases.length,
      rows,
      sha256,
      before: this.#hash.digest('hex'),
    };
    yield Buffer.from(`${JSON.stringify(last)}\n`);
    return undefined;
  }

  async *#lines(): AsyncGenerator<string, undefined> {
    const header: Header = { kvent: 'backup', format, from: this.#source.name, at: new Date().toISOString() };
    yield JSON.stringify(header);
    const databases: Section[] = [];
    for (const database of this.#options.databases) {
      yield JSON.stringify({ database });
      const { rows, sha256 } = yield* this.#rowsOf(database);
      databases.push({ database, rows, sha256 });
      yield JSON.stringify({ end: database, rows, sha256 });
    }
    this.summary = { databases, rows: this.#rows, sha256: await hashOfDatabases(databases) };
    return undefined;
  }

  async *#rowsOf(database: string): AsyncGenerator<string, Pick<Section, 'rows' | 'sha256'>> {
    const digest = new RowDigest();
    this.#options.onRows('writing', this.#rows, database);
    for await (const raw of new CopiedRows(this.#source, database)) {
      const line = rowLine(raw);
      await digest.add(raw, line);
      this.#rows += 1;
      if (this.#rows % 1_000 === 0) this.#options.onRows('writing', this.#rows, database);
      yield line;
    }
    return await digest.end();
  }

  #hashed(text: string): Buffer {
    const bytes = Buffer.from(text);
    this.#hash.update(bytes);
    return bytes;
  }
}

function notWritten(path: string, error: unknown): Error {
  if (isError(error) && error.name === 'AbortError')
    return storageError(
      'ABORTED',
      `The backup was cancelled. Its file was removed, and an earlier file at ${path} was not changed.`,
      {},
      { cause: error },
    );
  const what = messageOf(error);
  return storageError(
    'STORAGE_UNAVAILABLE',
    `The backup ${path} could not be written: ${what}. Its file was removed.`,
    {},
    { cause: error },
  );
}
