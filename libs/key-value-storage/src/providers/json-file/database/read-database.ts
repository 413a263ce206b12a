/**
 * The opening rules: what a database's directory holds, judged. The newest snapshot must be whole;
 * the journals from its generation on must all be there, their commits numbered without a gap. A
 * journal that has its name had its first line on disk, but for the newest one when its owner ended
 * while making it: so an empty one is damage anywhere else. A damaged line is a tail that nobody
 * was ever told about exactly when no intact line behind it, or within it, says that it was on
 * disk: then it is cut off, with a warning. Anything else is refused, naming file and line. Nothing
 * is changed here.
 */
import { join } from 'node:path';
import type { StoredTime } from '../../../core/base/clock.js';
import { RowTable } from '../../../core/providers/row-table.js';
import { corrupt, unavailable, unreadable } from '../disk/disk-errors.js';
import type { FileSystem, OpenFile } from '../disk/file-system.js';
import {
  format,
  readHeaderLine,
  readJournalLine,
  seedOf,
  type JournalHeader,
  type JournalLine,
} from '../format/journal-line.js';
import { generationsOf, journalName, snapshotName, type Generations } from '../format/layout.js';
import { readLines } from '../disk/line-reader.js';
import { wholeLineWithin } from '../format/sealed-line.js';
import { readSnapshot } from './snapshot-file.js';

export interface Recovered {
  readonly table: RowTable;
  /** The number of the last commit. */
  readonly last: number;
  /** The latest time that was stored. */
  readonly time: StoredTime;
  /** The newest generation that there is a file of. */
  readonly generation: number;
  readonly snapshotBytes: number;
  readonly journalBytes: number;
  /** Whether its owner closed it. */
  readonly closed: boolean;
  /** What was cut off. */
  readonly warnings: readonly string[];
  /** Files that are of no use any more. */
  readonly stale: readonly string[];
}

export async function readDatabase(
  fileSystem: FileSystem,
  directory: string,
  database: string,
): Promise<Recovered> {
  const generations = generationsOf(await namesIn(fileSystem, directory));
  const base = generations.snapshots.at(-1) ?? 0;
  const needed = journalsNeeded(directory, base, generations);
  const reading = new Reading(directory, database);
  if (base > 0)
    await withFile(fileSystem, join(directory, snapshotName(base)), (file) => reading.snapshot(file, base));
  for (const generation of needed) {
    await withFile(fileSystem, join(directory, journalName(generation)), (file) =>
      reading.journal(file, generation, mayBeUnbegun(generation, generations)),
    );
  }
  const newest = needed.at(-1) as number;
  reading.assertNothingFollows(newest);
  const stale = [
    ...generations.snapshots.filter((generation) => generation < base).map(snapshotName),
    ...generations.journals.filter((generation) => generation < base).map(journalName),
    ...generations.temporary,
  ];
  return { ...reading.result(), generation: newest, stale };
}

/**
 * The first journal appears with its directory, and a snapshot only once the journal of its
 * generation is on disk. Any other journal may be left without its first line by an owner that
 * ended while making it, or by the next one that ended while recovering from that; what the
 * journals behind it say shows whether it ever held anything.
 */
const mayBeUnbegun = (generation: number, { snapshots }: Generations): boolean =>
  generation > 1 && !snapshots.includes(generation);

async function namesIn(fileSystem: FileSystem, directory: string): Promise<readonly string[]> {
  try {
    return (await fileSystem.list(directory)) ?? [];
  } catch (error) {
    throw unavailable(`The directory ${directory} cannot be read`, error);
  }
}

/**
 * The generations of the journals to read: none may be missing between the snapshot's and the
 * newest.
 */
function journalsNeeded(directory: string, base: number, { journals }: Generations): readonly number[] {
  const first = Math.max(1, base);
  const newest = Math.max(first, ...journals);
  const needed = Array.from({ length: newest - first + 1 }, (_, index) => first + index);
  for (const generation of needed) {
    if (journals.includes(generation)) continue;
    throw corrupt(
      join(directory, journalName(generation)),
      base === 0 ? 'the file is missing, and no snapshot stands in for it' : 'the file is missing',
    );
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
  /** The commit that is missing from here on. */
  readonly number: number;
  readonly what: string;
}

class Reading {
  readonly #directory: string;
  readonly #database: string;
  readonly #table = new RowTable();
  #covered = 0;
  #last = 0;
  #time: StoredTime = { time: Number.NEGATIVE_INFINITY, wall: Number.NEGATIVE_INFINITY };
  #snapshotBytes = 0;
  #journalBytes = 0;
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

  /**
   * `mayBeUnbegun`: its owner may have ended while making it, before its first line was on disk.
   */
  async journal(file: OpenFile, generation: number, mayBeUnbegun: boolean): Promise<void> {
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
        if (header === undefined) return this.#unbegun(path, mayBeUnbegun);
        seed = seedOf(bytes);
        this.#assertOurs(path, header, generation);
        return this.#assertFollows(path, header);
      }
      // the first line was on disk before any other was written: one that is not finished stands
      // alone
      if (seed === undefined) throw corrupt(`${path}:1`, 'the first line is damaged');
      const line = ended ? readJournalLine(bytes, seed) : undefined;
      this.#line(line, path, number);
      if (line === undefined) this.#within(bytes, seed, path, number);
    });
    if (lines === 0) this.#unbegun(path, mayBeUnbegun);
  }

  #unbegun(path: string, mayBe: boolean): void {
    if (!mayBe) throw corrupt(`${path}:1`, 'the first line is missing or damaged, and it was on disk');
    this.#damaged({ path, line: 1, number: this.#last + 1, what: 'the journal has no first line' });
  }

  /** The lines before this journal were on disk when it was made. */
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

  /** A damaged line may hide the intact one behind it: what that says was on disk still counts. */
  #within(bytes: Buffer, seed: number, path: string, number: number): void {
    const whole = wholeLineWithin(bytes, seed);
    const line = whole === undefined ? undefined : readJournalLine(whole, seed);
    if (line === undefined) return;
    this.#line(line, path, number);
    this.#closed = false;
  }

  #line(line: JournalLine | undefined, path: string, number: number): void {
    this.#closed = line?.kind === 'end' && this.#damage === undefined;
    if (line === undefined)
      return this.#damaged({ path, line: number, number: this.#last + 1, what: 'the line is damaged' });
    if (line.kind === 'commit') this.#commit(line, path, number);
    if (line.kind === 'end' && line.ahead !== undefined && this.#damage === undefined) this.#at(line.ahead);
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
    // the next journal goes on without a gap: what is damaged at the end of this one was its end
    // mark
    const damage = this.#damage;
    if (line.number === damage?.number) {
      if (path === damage.path)
        throw corrupt(
          `${path}:${damage.line}`,
          `${damage.what}, and it is no tail: commit ${line.number} follows on line ${number}`,
        );
      this.#damage = undefined;
    }
    if (this.#damage !== undefined) {
      this.#dropped += 1;
      return;
    }
    if (line.number <= this.#covered) return;
    if (line.number <= this.#last)
      throw corrupt(`${path}:${number}`, `commit ${line.number} comes a second time`);
    // a write that was torn leaves a hole, never lines that stand side by side
    if (line.number > this.#last + 1)
      throw corrupt(`${path}:${number}`, `commit ${this.#last + 1} is missing before this line`);
    this.#table.apply(line.effects);
    this.#last = line.number;
    this.#at({ time: line.time, wall: line.wall ?? line.time });
  }

  #at(found: StoredTime): void {
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
      throw corrupt(`${path}:1`, `it is generation ${header.generation} under another number`);
  }

  assertNothingFollows(newest: number): void {
    const next = this.#next;
    if (next === undefined || next.generation <= newest) return;
    throw corrupt(
      join(this.#directory, journalName(next.generation)),
      `the file is missing; ${next.path}:${next.line} says that it goes on there`,
    );
  }

  result(): Omit<Recovered, 'generation' | 'stale'> {
    return {
      table: this.#table,
      last: this.#last,
      time: this.#time,
      snapshotBytes: this.#snapshotBytes,
      journalBytes: this.#journalBytes,
      closed: this.#closed,
      warnings: this.#damage === undefined ? [] : [cutOff(this.#damage, this.#dropped)],
    };
  }
}

const cutOff = ({ path, line, what }: Damage, dropped: number): string =>
  line === 1
    ? `${path}:1: ${what}. A process that ended while it made the journal leaves it so, and then nothing is missing. If that one was closed in order, the file was cut short since: restore a backup.`
    : `${path}:${line}: ${what}. Nobody was ever told that it is stored: the ${dropped} line(s) from there on were cut off.`;
