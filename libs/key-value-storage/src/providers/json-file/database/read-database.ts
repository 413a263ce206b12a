/**
 * Reads the directory of a database by the opening rules:
 *
 * - The newest snapshot must be intact, and the journals from its generation on must exist, with
 *   commit numbers without a gap.
 * - The first line of a journal is on disk before its name. Only the newest journal may lack it:
 *   its owner ended while creating it.
 * - A damaged line is cut off, with a warning, if no intact line after it or within it says that it
 *   was on disk: it was never acknowledged.
 * - Anything else is refused, with file and line. Nothing is changed here.
 */
import { join } from 'node:path';
import type { StoredTime } from '../../../core/base/clock.js';
import { RowTable } from '../../../core/providers/row-table.js';
import { corrupt, unavailable, unreadable } from '../disk/disk-errors.js';
import type { FileSystem, OpenFile } from '../disk/file-system.js';
import {
  format,
  readHeaderLine,
  isBlank,
  readJournalLine,
  seedOf,
  type JournalHeader,
  type JournalLine,
} from '../format/journal-line.js';
import { generationsOf, journalName, snapshotName, type Generations } from '../format/layout.js';
import { readLines } from '../disk/line-reader.js';
import { intactLineWithin } from '../format/sealed-line.js';
import { applyEffects, type RecoveredSizes } from './file-sizes.js';
import { readSnapshot } from './snapshot-file.js';

export interface RecoveredDatabase extends RecoveredSizes {
  readonly table: RowTable;
  /** The number of the last commit. */
  readonly last: number;
  /** The latest time that was stored. */
  readonly time: StoredTime;
  /** The newest generation with a file. */
  readonly generation: number;
  /** Whether it ends with an end mark: its owner closed it. */
  readonly closed: boolean;
  readonly warnings: readonly string[];
  /** Files that are not needed any more. */
  readonly stale: readonly string[];
}

export async function readDatabase(
  fileSystem: FileSystem,
  directory: string,
  database: string,
): Promise<RecoveredDatabase> {
  const generations = generationsOf(await namesIn(fileSystem, directory));
  const base = generations.snapshots.at(-1) ?? 0;
  const needed = journalsNeeded(directory, base, generations);
  const reader = new DatabaseReader(directory, database);
  if (base > 0)
    await withFile(fileSystem, join(directory, snapshotName(base)), (file) => reader.snapshot(file, base));
  for (const generation of needed) {
    await withFile(fileSystem, join(directory, journalName(generation)), (file) =>
      reader.journal(file, generation, mayLackHeader(generation, generations)),
    );
  }
  const newest = needed.at(-1) as number;
  reader.assertNothingFollows(newest);
  const stale = [
    ...generations.snapshots.filter((generation) => generation < base).map(snapshotName),
    ...generations.journals.filter((generation) => generation < base).map(journalName),
    ...generations.temporary,
  ];
  return { ...reader.result(), generation: newest, journals: needed.length, stale };
}

/**
 * Whether a journal may lack its first line. Not the first one, which appears with its directory,
 * nor one with a snapshot, which is written after the journal. Any other may, if its owner ended
 * while creating it, or the next one while recovering from that; the journals after it show whether
 * it ever had commits.
 */
const mayLackHeader = (generation: number, { snapshots }: Generations): boolean =>
  generation > 1 && !snapshots.includes(generation);

async function namesIn(fileSystem: FileSystem, directory: string): Promise<readonly string[]> {
  try {
    return (await fileSystem.list(directory)) ?? [];
  } catch (error) {
    throw unavailable(`The directory ${directory} cannot be read`, error);
  }
}

/** The journals to read: from the generation of the snapshot to the newest one, without a gap. */
function journalsNeeded(directory: string, base: number, { journals }: Generations): readonly number[] {
  const first = Math.max(1, base);
  const newest = Math.max(first, journals.at(-1) ?? 0);
  const existing = new Set(journals);
  const needed: number[] = [];
  for (let generation = first; generation <= newest; generation += 1) {
    if (!existing.has(generation))
      throw corrupt(
        join(directory, journalName(generation)),
        base === 0 ? 'the file is missing, and there is no snapshot' : 'the file is missing',
      );
    needed.push(generation);
  }
  return needed;
}

export async function withFile<R>(
  fileSystem: FileSystem,
  path: string,
  work: (file: OpenFile) => Promise<R>,
): Promise<R> {
  let file: OpenFile | undefined;
  try {
    file = await fileSystem.open(path, 'read');
    return await work(file);
  } catch (error) {
    throw unreadable(path, path, error);
  } finally {
    await file?.close().catch(() => undefined);
  }
}

interface Damage {
  readonly path: string;
  readonly line: number;
  /** The first commit that is missing. */
  readonly number: number;
  readonly what: string;
}

class DatabaseReader {
  readonly #directory: string;
  readonly #database: string;
  readonly #table = new RowTable();
  #covered = 0;
  #last = 0;
  #time: StoredTime = { time: Number.NEGATIVE_INFINITY, wall: Number.NEGATIVE_INFINITY };
  #snapshotBytes = 0;
  #journalBytes = 0;
  #garbageBytes = 0;
  #closed = false;
  #next: { readonly generation: number; readonly path: string; readonly line: number } | undefined;
  #damage: Damage | undefined;
  #dropped = 0;

  constructor(directory: string, database: string) {
    this.#directory = directory;
    this.#database = database;
  }

  async snapshot(file: OpenFile, generation: number): Promise<void> {
    const path = join(this.#directory, snapshotName(generation));
    this.#snapshotBytes = await readSnapshot(file, {
      header: (header) => {
        this.#assertOurs(path, header, generation);
        this.#covered = header.upTo;
        this.#last = header.upTo;
        this.#time = { time: header.time, wall: header.wall ?? header.time };
      },
      row: ({ address, row }) => {
        this.#table.set(address, row);
      },
      damage: (line, what) => {
        throw corrupt(`${path}:${line}`, what);
      },
    });
  }

  async journal(file: OpenFile, generation: number, mayLackHeader: boolean): Promise<void> {
    const path = join(this.#directory, journalName(generation));
    let seed: number | undefined;
    let lines = 0;
    this.#closed = false;
    this.#journalBytes += await readLines(file, (bytes, number, ended) => {
      lines = number;
      if (number === 1) {
        const header = ended ? readHeaderLine(bytes) : undefined;
        if (header === undefined && ended && !bytes.includes(0))
          throw corrupt(`${path}:1`, 'the first line is damaged');
        if (header === undefined) return this.#withoutHeader(path, mayLackHeader);
        seed = seedOf(bytes);
        this.#assertOurs(path, header, generation);
        return this.#assertFollows(path, header);
      }
      if (!ended && number > 1 && isBlank(bytes)) return;
      // the first line was on disk before any other was written, so an unfinished one is alone
      if (seed === undefined) throw corrupt(`${path}:1`, 'the first line is damaged');
      const line = ended ? readJournalLine(bytes, seed) : undefined;
      this.#line(line, path, number);
      if (line === undefined) this.#lineWithin(bytes, seed, path, number);
    });
    if (lines === 0) this.#withoutHeader(path, mayLackHeader);
  }

  #withoutHeader(path: string, allowed: boolean): void {
    if (!allowed) throw corrupt(`${path}:1`, 'the first line is missing or damaged, though it was on disk');
    this.#damaged({ path, line: 1, number: this.#last + 1, what: 'the journal has no first line' });
  }

  /** The commits before this journal were on disk when it was created. */
  #assertFollows(path: string, { after = 0 }: JournalHeader): void {
    const damage = this.#damage;
    if (after <= this.#last) return;
    if (damage !== undefined) {
      throw corrupt(
        `${damage.path}:${damage.line}`,
        `${damage.what}, and commit ${damage.number} was on disk, says ${path}:1`,
      );
    }
    throw corrupt(`${path}:1`, `commits ${this.#last + 1} to ${after} are missing before this journal`);
  }

  /** A damaged line may contain the intact line after it: what that one says was on disk counts. */
  #lineWithin(bytes: Buffer, seed: number, path: string, number: number): void {
    const intact = intactLineWithin(bytes, seed);
    const line = intact === undefined ? undefined : readJournalLine(intact, seed);
    if (line === undefined) return;
    this.#line(line, path, number);
    this.#closed = false;
  }

  #line(line: JournalLine | undefined, path: string, number: number): void {
    this.#closed = line?.kind === 'end' && this.#damage === undefined;
    if (line === undefined)
      return this.#damaged({ path, line: number, number: this.#last + 1, what: 'the line is damaged' });
    if (line.kind === 'commit') this.#commit(line, path, number);
    if (line.kind === 'end' && line.ahead !== undefined && this.#damage === undefined)
      this.#advance(line.ahead);
    if (line.kind === 'next') this.#next = { generation: line.generation, path, line: number };
    if (line.kind !== 'commit' && line.onDisk > this.#last && this.#damage === undefined) {
      throw corrupt(
        `${path}:${number}`,
        `commits ${this.#last + 1} to ${line.onDisk} are missing before this line`,
      );
    }
    const damage = this.#damage;
    if (damage !== undefined && line.onDisk >= damage.number) {
      throw corrupt(
        `${damage.path}:${damage.line}`,
        `${damage.what}, and commit ${damage.number} was on disk, says ${path}:${number}`,
      );
    }
  }

  #commit(line: JournalLine & { readonly kind: 'commit' }, path: string, number: number): void {
    // the next journal continues without a gap, so the damaged line was the end mark of this one
    const damage = this.#damage;
    if (line.number === damage?.number) {
      if (path === damage.path)
        throw corrupt(
          `${path}:${damage.line}`,
          `${damage.what}, and it is not a tail: commit ${line.number} follows on line ${number}`,
        );
      this.#damage = undefined;
    }
    if (this.#damage !== undefined) {
      this.#dropped += 1;
      return;
    }
    if (line.number <= this.#covered) return;
    if (line.number <= this.#last) throw corrupt(`${path}:${number}`, `commit ${line.number} is repeated`);
    // a torn write leaves a hole, never adjacent lines
    if (line.number > this.#last + 1)
      throw corrupt(`${path}:${number}`, `commit ${this.#last + 1} is missing before this line`);
    this.#garbageBytes += applyEffects(this.#table, line.effects);
    this.#last = line.number;
    this.#advance({ time: line.time, wall: line.wall ?? line.time });
  }

  #advance(found: StoredTime): void {
    if (found.time >= this.#time.time) this.#time = found;
  }

  #damaged(damage: Damage): void {
    this.#dropped += 1;
    this.#damage ??= damage;
  }

  #assertOurs(path: string, header: JournalHeader, generation: number): void {
    if (header.format !== format)
      throw corrupt(
        `${path}:1`,
        `it is written in format ${String(header.format)}; this release reads format ${format}`,
      );
    if (header.database !== this.#database)
      throw corrupt(
        `${path}:1`,
        `it belongs to the database '${header.database}', not to '${this.#database}'`,
      );
    if (header.generation !== generation)
      throw corrupt(`${path}:1`, `it is generation ${header.generation} in a file with another number`);
  }

  assertNothingFollows(newest: number): void {
    const next = this.#next;
    if (next === undefined || next.generation <= newest) return;
    throw corrupt(
      join(this.#directory, journalName(next.generation)),
      `the file is missing; ${next.path}:${next.line} says that it continues there`,
    );
  }

  result(): Omit<RecoveredDatabase, 'generation' | 'journals' | 'stale'> {
    return {
      table: this.#table,
      last: this.#last,
      time: this.#time,
      snapshotBytes: this.#snapshotBytes,
      journalBytes: this.#journalBytes,
      garbageBytes: this.#garbageBytes,
      closed: this.#closed,
      warnings: this.#damage === undefined ? [] : [cutOff(this.#damage, this.#dropped)],
    };
  }
}

const cutOff = ({ path, line, what }: Damage, dropped: number): string =>
  line === 1
    ? `${path}:1: ${what}. If a process ended while it created the journal, nothing is missing. If that process was closed properly, the file was cut later: restore a backup.`
    : `${path}:${line}: ${what}. It was never acknowledged: the ${dropped} line(s) from there on were cut off.`;
