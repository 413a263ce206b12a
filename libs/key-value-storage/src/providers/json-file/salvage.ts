/**
 * Copies the readable rows of a damaged store to a new directory, and reports the damage. The
 * source is not changed. Each line is checked by itself: a line with a wrong checksum is skipped
 * and reported, and the commits after it are still applied, because they contain results. So the
 * copy may lack changes, even a part of a batch; the report says where. Then its indexes may not
 * fit the entries: the copy has none, and the next process that uses one builds it again.
 */
import { join, resolve } from 'node:path';
import { throwIfAborted, untilAborted } from '../../core/base/abort.js';
import { systemClock, type Clock } from '../../core/base/clock.js';
import { invalidOption, resolveOptions } from '../../core/base/options.js';
import { indexContainer } from '../../core/encoding/index-encoding.js';
import { faultOfRow, placeOf } from '../../core/port/raw-row.js';
import { RowTable } from '../../core/providers/row-table.js';
import type { RawRow } from '../../core/port/storage-provider.js';
import { reasonOf, unavailable } from './disk/disk-errors.js';
import { directoryOf } from './disk/file-name.js';
import type { FileSystem } from './disk/file-system.js';
import { isBlank, readHeaderLine, readJournalLine, seedOf } from './format/journal-line.js';
import { JsonFileProvider } from './json-file-provider.js';
import { generationsOf, journalName, snapshotName } from './format/layout.js';
import { readLines } from './disk/line-reader.js';
import { nodeFileSystem } from './disk/node-file-system.js';
import { withFile } from './database/read-database.js';
import { readSnapshot } from './database/snapshot-file.js';
import { copyReservation } from './database/store-feed.js';
import { listDatabases, markFeed, readMarker } from './store-root.js';

export interface SalvageReport {
  readonly databases: readonly SalvagedDatabase[];
}

export interface SalvagedDatabase {
  readonly database: string;
  /** The number of copied rows. */
  readonly rows: number;
  /** The unreadable parts, in the order of the files. */
  readonly damage: readonly { readonly place: string; readonly what: string }[];
}

export interface SalvageOptions {
  /** The file system. @default this machine's */
  readonly fileSystem?: FileSystem;
  /** Cancels it at once, with `ABORTED`. Rows that were copied stay in the target. */
  readonly signal?: AbortSignal | undefined;
  /** The source of time for the copy. @default the system's */
  readonly clock?: Clock;
}

const defaults = { fileSystem: nodeFileSystem, clock: systemClock };

/** No process may use `from`. `INVALID_OPTION` if `to` exists and is not empty. */
export async function salvageJsonFile(
  from: string,
  to: string,
  options: SalvageOptions = {},
): Promise<SalvageReport> {
  const { fileSystem, clock, signal } = resolveOptions('salvageJsonFile', options, defaults, ['signal']);
  const root = resolve(from);
  const existing = await fileSystem
    .list(resolve(to))
    .catch((error: unknown) => Promise.reject(unavailable(`${to} cannot be read`, error)));
  if (existing !== undefined && existing.length > 0)
    throw invalidOption(`salvageJsonFile: the target must be empty or missing; ${to} is not empty.`);
  const copy = new JsonFileProvider({ directory: to, fileSystem, clock });
  await copy.open();
  try {
    const databases: SalvagedDatabase[] = [];
    const onMisplaced = (database: string, place: string, { message }: Error): void => {
      databases.push({ database, rows: 0, damage: [{ place, what: message }] });
    };
    for (const database of await listDatabases(fileSystem, root, onMisplaced)) {
      const salvage = new Salvage(fileSystem, join(root, directoryOf(database)), signal);
      await untilAborted('The salvage', 'none', signal, salvage.read());
      const rows = await copy.administration.import(database, salvage.rows(database));
      databases.push({ database, rows, damage: salvage.damage });
    }
    return { databases };
  } finally {
    await copy.close();
    await continueFeed(fileSystem, root, resolve(to));
  }
}

/** Events of a store without reservations may have no positions: the next opening gives them. */
async function continueFeed(fileSystem: FileSystem, from: string, to: string): Promise<void> {
  if (await copyReservation(fileSystem, from, to)) return;
  await markFeed(fileSystem, to, await readMarker(fileSystem, to), false);
}

/** Salvages one database. */
class Salvage {
  readonly table = new RowTable();
  readonly damage: { readonly place: string; readonly what: string }[] = [];
  readonly #fileSystem: FileSystem;
  readonly #directory: string;
  readonly #signal: AbortSignal | undefined;
  #last: number | undefined;

  constructor(fileSystem: FileSystem, directory: string, signal: AbortSignal | undefined) {
    this.#fileSystem = fileSystem;
    this.#directory = directory;
    this.#signal = signal;
  }

  /**
   * Starts with the newest intact snapshot; older files replace the parts that damaged ones lack.
   */
  async read(): Promise<void> {
    const { snapshots, journals } = generationsOf((await this.#fileSystem.list(this.#directory)) ?? []);
    const newest = snapshots.at(-1) ?? 0;
    const intact = newest > 0 && (await this.#isIntact(newest));
    const generations = [...new Set([...snapshots, ...journals])]
      .filter((generation) => !intact || generation >= newest)
      .sort((a, b) => a - b);
    const last = generations.at(-1);
    if (last === undefined) this.#report(this.#directory, 'there is neither a snapshot nor a journal');
    for (let generation = generations[0] ?? 0; last !== undefined && generation <= last; generation += 1) {
      if (snapshots.includes(generation)) await this.#snapshot(generation);
      if (journals.includes(generation)) await this.#journal(generation);
      else this.#report(join(this.#directory, journalName(generation)), 'the file is missing');
    }
  }

  /**
   * The rows that can be read back; the others are reported. Index rows only where nothing is
   * damaged.
   */
  *rows(database: string): Generator<RawRow, undefined> {
    const sound: RawRow[] = [];
    for (const raw of this.table.all()) {
      throwIfAborted('The salvage', this.#signal);
      const fault = faultOfRow(raw);
      if (fault === undefined) sound.push(raw);
      else this.#report(this.#directory, `the row ${placeOf(database, raw)} cannot be read back: ${fault}`);
    }
    const isDamaged = this.damage.length > 0;
    for (const raw of sound) {
      throwIfAborted('The salvage', this.#signal);
      if (!isDamaged || !raw.container.startsWith(indexContainer)) yield raw;
    }
    return undefined;
  }

  async #isIntact(generation: number): Promise<boolean> {
    let intact = true;
    await withFile(this.#fileSystem, join(this.#directory, snapshotName(generation)), (file) =>
      readSnapshot(file, {
        header: () => undefined,
        row: () => undefined,
        damage: () => void (intact = false),
      }),
    ).catch(() => (intact = false));
    return intact;
  }

  async #snapshot(generation: number): Promise<void> {
    const path = join(this.#directory, snapshotName(generation));
    await this.#reading(path, () =>
      withFile(this.#fileSystem, path, (file) =>
        readSnapshot(file, {
          header: ({ upTo }) => {
            this.#last = upTo;
          },
          row: (effect) => this.table.apply([effect]),
          damage: (line, what) => this.#report(`${path}:${line}`, what),
        }),
      ),
    );
  }

  async #journal(generation: number): Promise<void> {
    const path = join(this.#directory, journalName(generation));
    let seed: number | undefined;
    await this.#reading(path, () =>
      withFile(this.#fileSystem, path, (file) =>
        readLines(file, (bytes, number, ended) => {
          throwIfAborted('The salvage', this.#signal);
          if (!ended && isBlank(bytes)) return;
          if (number > 1) return this.#line(bytes, seed, `${path}:${number}`);
          if (readHeaderLine(bytes) !== undefined) seed = seedOf(bytes);
          else
            this.#report(
              `${path}:1`,
              'the first line is damaged, so the checksums of the other lines cannot be verified; the lines are used as they are',
            );
        }),
      ),
    );
  }

  #line(bytes: Buffer, seed: number | undefined, place: string): void {
    const line = readJournalLine(bytes, seed);
    if (line === undefined) return this.#report(place, 'the line is damaged');
    if (line.kind !== 'commit') return;
    if (this.#last !== undefined && line.number > this.#last + 1) {
      this.#report(place, `commits ${this.#last + 1} to ${line.number - 1} are missing before this line`);
    }
    this.#last = line.number;
    this.table.apply(line.effects);
  }

  async #reading(path: string, read: () => Promise<unknown>): Promise<void> {
    try {
      await read();
    } catch (error) {
      throwIfAborted('The salvage', this.#signal);
      this.#report(path, reasonOf(error));
    }
  }

  #report(place: string, what: string): void {
    this.damage.push({ place, what });
  }
}
