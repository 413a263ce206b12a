/** One copy as it runs: look, freeze, put every row, read everything back. */
import { throwIfAborted } from '../core/base/abort.js';
import { brokenOff } from './broken-off-copy.js';
import { compareDatabases } from './compare-databases.js';
import { assertElsewhere, putMark, removeMark } from './copy-mark.js';
import type { CopySettings } from './copy-options.js';
import { planCopy, type Planned } from './copy-plan.js';
import { CopyReporter } from './copy-reporter.js';
import { CopiedRows, countRows, type CopySource } from './copy-source.js';
import { storageError } from '../core/base/errors.js';
import { invalidOption } from '../core/base/options.js';
import { soundRows } from '../core/port/raw-row.js';
import type { RowsDigest } from './row-digest.js';
import type { Freeze, RawRow, StorageProvider, Version } from '../core/port/storage-provider.js';

/** One database that is now the same on both sides. */
export interface CopiedDatabase extends RowsDigest {
  readonly database: string;
  /** `there already`: the target held it, each row the same. */
  readonly outcome: 'copied' | 'there already';
  /** How many leases of sessions stayed behind. */
  readonly leases: number;
}

/**
 * A database whose rows were put, and are still to be compared. `mark`: none where the target held
 * it already.
 */
interface Put {
  readonly database: string;
  readonly rows: number | undefined;
  readonly mark: Version | undefined;
}
interface Position {
  readonly number: number;
  readonly databases: number;
}

export class CopyRun {
  readonly #from: CopySource;
  readonly #to: StorageProvider;
  readonly #settings: CopySettings;
  readonly #only: string | undefined;
  readonly #reporter: CopyReporter;
  /** Rows that were handed to the target; `undefined` while nothing there was changed. */
  #handed: number | undefined;
  #isElsewhere = false;

  constructor(from: CopySource, to: StorageProvider, settings: CopySettings, only?: string) {
    this.#from = from;
    this.#to = to;
    this.#settings = settings;
    this.#only = only;
    this.#reporter = new CopyReporter(settings);
  }

  async run(): Promise<readonly CopiedDatabase[]> {
    throwIfAborted('The copy', this.#settings.signal);
    if ((this.#from as unknown) === this.#to)
      throw invalidOption(`Source and target are the same storage: ${this.#to.name}.`);
    // what can be refused is refused before anybody is held up; and a frozen engine would hold the
    // probe up too
    const dropped = (await this.#plan()).find(({ work }) => work === 'replace');
    if (dropped !== undefined) await this.#assertElsewhere(dropped.database);
    const freeze = await this.#from.administration.freeze?.(this.#only);
    try {
      return await this.#copy(freeze);
    } catch (error) {
      throw this.#handed === undefined
        ? error
        : brokenOff(error, this.#from.name, this.#to.name, this.#handed);
    } finally {
      await release(freeze);
    }
  }

  #plan(): Promise<readonly Planned[]> {
    return planCopy(this.#from, this.#to, this.#settings, this.#only);
  }

  async #assertElsewhere(database: string): Promise<void> {
    if (!this.#isElsewhere) await assertElsewhere(this.#from, this.#to, database);
    this.#isElsewhere = true;
  }

  /**
   * All are put before any is compared: a source that is read from front to back is read from front
   * to back twice.
   */
  async #copy(freeze: Freeze | undefined): Promise<readonly CopiedDatabase[]> {
    const plan = await this.#plan();
    const copied = new Map<string, CopiedDatabase>();
    const compare = async (puts: readonly Put[]): Promise<void> => {
      for (const [index, put] of puts.entries())
        copied.set(
          put.database,
          await this.#compare(put, { number: index + 1, databases: puts.length }, freeze),
        );
    };
    const there = plan.filter(({ work }) => work === 'compare');
    // what is there and should stay is looked at first: as long as that may be refused, nothing is
    // written
    await compare(there.map(({ database }) => ({ database, rows: undefined, mark: undefined })));
    const missing = plan.filter(({ work }) => work !== 'compare');
    const puts: Put[] = [];
    for (const [index, planned] of missing.entries())
      puts.push(await this.#put(planned, { number: index + 1, databases: missing.length }));
    await compare(puts);
    return plan.map(({ database }) => copied.get(database) as CopiedDatabase);
  }

  async #put({ database, work }: Planned, position: Position): Promise<Put> {
    const total = await countRows(this.#from, database);
    const step = this.#reporter.begin({ step: 'copying', database, ...position, total });
    if (work === 'replace') await this.#assertElsewhere(database);
    this.#handed ??= 0;
    if (work === 'replace') await this.#to.administration.drop(database);
    const mark = await putMark(this.#to, database, this.#from);
    await this.#to.administration.import(database, this.#handOver(database, step.row));
    return { database, rows: step.end(), mark };
  }

  async *#handOver(database: string, onRow: (raw: RawRow) => void): AsyncGenerator<RawRow, undefined> {
    for await (const raw of soundRows(database, new CopiedRows(this.#from, database))) {
      onRow(raw);
      this.#handed = (this.#handed ?? 0) + 1;
      yield raw;
    }
    return undefined;
  }

  async #compare(
    { database, rows, mark }: Put,
    position: Position,
    freeze: Freeze | undefined,
  ): Promise<CopiedDatabase> {
    const total = rows ?? (await countRows(this.#from, database));
    const step = this.#reporter.begin({ step: 'comparing', database, ...position, total });
    const found = await compareDatabases(this.#from, this.#to, database, step.row);
    if (found.outcome === 'different') throw this.#difference(found.place, found.what, mark === undefined);
    step.end();
    await freeze?.verify();
    if (mark !== undefined) await removeMark(this.#to, database, mark);
    const outcome = mark === undefined ? 'there already' : 'copied';
    return { database, outcome, leases: found.leases, ...found.digest };
  }

  #difference(place: string, what: string, wasThere: boolean): Error {
    const { name } = this.#to;
    if (wasThere)
      return invalidOption(
        `The target is not empty, and not the same: ${place} ${what} (${name}). Nothing of it was changed. To drop what it holds: ifPresent: 'replace' (kvent: --replace).`,
      );
    return storageError(
      'STORAGE_CORRUPT',
      `What was read back from ${name} is not what was copied: ${place} ${what}. Either it was not stored as it was given, or somebody wrote to one of the sides meanwhile.`,
      { place },
    );
  }
}

/** What was read has been verified by then: how the freeze ends changes nothing. */
async function release(freeze: Freeze | undefined): Promise<void> {
  try {
    await freeze?.[Symbol.asyncDispose]();
  } catch {
    // see above
  }
}
