/**
 * Reads the databases of a store without its lock, while another process may write to them. It
 * changes nothing: no file, no name, no lock. Rows of the newest commit may be seen before the
 * owner's sync, thus before its caller gets the result.
 *
 * A changed database is read as a whole, by the opening rules: the cost of one opening. The owner
 * may write, compact or drop it during the read. Then the rules find a missing file or a damaged
 * line, and the read is repeated.
 */
import { join, resolve } from 'node:path';
import { systemClock, type Clock } from '../../core/base/clock.js';
import { storageError } from '../../core/base/errors.js';
import { isLive } from '../../core/port/evaluate-batch.js';
import type {
  Address,
  ReadResult,
  ScanPage,
  ScanRange,
  StorageAdministration,
  StorageProvider,
} from '../../core/port/storage-provider.js';
import { RowTable } from '../../core/providers/row-table.js';
import { readDatabase } from './database/read-database.js';
import { unavailable } from './disk/disk-errors.js';
import { directoryOf } from './disk/file-name.js';
import type { FileSystem } from './disk/file-system.js';
import { nodeFileSystem } from './disk/node-file-system.js';
import { generationsOf, journalName, snapshotName } from './format/layout.js';
import { ensureRoot, listDatabases, readMarker } from './store-root.js';

interface StoreFollowerOptions {
  readonly directory: string;
  /** The file system. @default this machine's */
  readonly fileSystem?: FileSystem;
  /** For the pause between two attempts to read. @default the system's */
  readonly clock?: Clock;
}

/** What was read of a database, and from which files. */
interface View {
  readonly table: RowTable;
  readonly files: string;
  /** Whether every later write changes `files`. */
  readonly settled: boolean;
}

interface Files {
  /** Names, sizes and times; `undefined` if the directory is missing. */
  readonly text: string | undefined;
  /** The time of the last write, in milliseconds since 1970. */
  readonly modifiedMs: number;
}

const attemptsMax = 5;
const pauseMs = 50;
/**
 * Two writes within one step of a file system's time may leave the same time, and a line that
 * replaces blanks leaves the same size. 2 s is the longest step, that of FAT.
 */
const timeStepMs = 2_000;
const missing: View = { table: new RowTable(), files: '', settled: false };

export class StoreFollower implements Pick<StorageProvider, 'name' | 'read' | 'scan'> {
  readonly name: string;
  /** The databases with a directory. `STORAGE_UNAVAILABLE` if there is no store. */
  readonly administration: Pick<StorageAdministration, 'databases'> = {
    databases: async () => {
      await ensureRoot(this.#fileSystem, this.#root, 'never');
      await readMarker(this.#fileSystem, this.#root);
      return await listDatabases(this.#fileSystem, this.#root);
    },
  };
  readonly #root: string;
  readonly #fileSystem: FileSystem;
  readonly #clock: Clock;
  readonly #views = new Map<string, View>();

  constructor({ directory, fileSystem = nodeFileSystem, clock = systemClock }: StoreFollowerOptions) {
    this.name = `JSON file ${directory}`;
    this.#root = resolve(directory);
    this.#fileSystem = fileSystem;
    this.#clock = clock;
  }

  /**
   * Reads a database again if its files have changed. A database without a directory has no rows.
   * `STORAGE_CORRUPT` for damage; `STORAGE_UNAVAILABLE` if its files changed during each attempt.
   * An unfinished last line is no damage: its owner may be writing it.
   */
  async refresh(database: string, signal?: AbortSignal): Promise<void> {
    const directory = join(this.#root, directoryOf(database));
    for (let attempt = 1; ; attempt += 1) {
      const now = this.#clock.now();
      const files = await this.#filesIn(directory);
      const known = this.#views.get(database);
      if (known?.settled === true && known.files === files.text) return;
      try {
        this.#views.set(database, await this.#read(directory, database, files, now));
        return;
      } catch (error) {
        if (attempt === attemptsMax) throw await this.#failure(directory, files, error);
      }
      await this.#clock.wait(pauseMs, signal);
    }
  }

  async #read(directory: string, database: string, { text, modifiedMs }: Files, now: number): Promise<View> {
    if (text === undefined) return missing;
    const { table } = await readDatabase(this.#fileSystem, directory, database);
    return { table, files: text, settled: modifiedMs + timeStepMs < now };
  }

  async #failure(directory: string, { text }: Files, error: unknown): Promise<unknown> {
    if ((await this.#filesIn(directory)).text === text) return error;
    return storageError(
      'STORAGE_UNAVAILABLE',
      `${directory} changed during each of ${attemptsMax} attempts to read it.`,
      {},
      { effect: 'none', cause: error },
    );
  }

  /** Unfinished files and foreign ones are left out. */
  async #filesIn(directory: string): Promise<Files> {
    try {
      const names = await this.#fileSystem.list(directory);
      if (names === undefined) return { text: undefined, modifiedMs: 0 };
      const { snapshots, journals } = generationsOf(names);
      let [text, modifiedMs] = ['', 0];
      for (const name of [...snapshots.map(snapshotName), ...journals.map(journalName)]) {
        const found = await this.#fileSystem.status(join(directory, name));
        text += `${name} ${found?.bytes} ${found?.modifiedMs}\n`;
        modifiedMs = Math.max(modifiedMs, found?.modifiedMs ?? 0);
      }
      return { text, modifiedMs };
    } catch (error) {
      throw unavailable(`The directory ${directory} cannot be read`, error);
    }
  }

  /** The rows of the last `refresh`. */
  read(addresses: readonly Address[]): Promise<ReadResult> {
    const time = this.#clock.now();
    const rows = addresses.map((address) => {
      const row = this.#views.get(address.database)?.table.get(address);
      return isLive(row, time) ? row : undefined;
    });
    return Promise.resolve({ time, rows });
  }

  /** The rows of the last `refresh`. */
  scan(ranges: readonly ScanRange[]): Promise<readonly ScanPage[]> {
    const time = this.#clock.now();
    const pageOf = (range: ScanRange): ScanPage => ({
      time,
      ...(this.#views.get(range.database) ?? missing).table.scan(range, time),
    });
    return Promise.resolve(ranges.map(pageOf));
  }
}
