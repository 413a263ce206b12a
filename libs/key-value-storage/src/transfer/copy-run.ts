/** One copy: plan, freeze, copy every row, compare everything. */
import { throwIfAborted } from '../core/base/abort.js';
import { interruptedCopy } from './interrupted-copy.js';
import { compareDatabases } from './compare-databases.js';
import { assertDifferentStorages, markFinished, markUnfinished } from './unfinished-copy.js';
import type { CopySettings } from './copy-options.js';
import { planCopy, type Planned } from './copy-plan.js';
import { CopyReporter } from './copy-reporter.js';
import { CopiedRows, countRows, type CopySource } from './copy-source.js';
import { storageError } from '../core/base/errors.js';
import { invalidOption } from '../core/base/options.js';
import { soundRows } from '../core/port/raw-row.js';
import type { RowsDigest } from './row-digest.js';
import type { Freeze, RawRow, StorageProvider, Version } from '../core/port/storage-provider.js';

/** A database that is equal on both sides. */
export interface CopiedDatabase extends RowsDigest {
  readonly database: string;
  /** `there already`: the target had it, with equal rows. */
  readonly outcome: 'copied' | 'there already';
  /** How many leases of sessions were not copied. */
  readonly leases: number;
}

/** A database to compare. `marker`: `undefined` if it was in the target before. */
interface Copied {
  readonly database: string;
  readonly rows: number | undefined;
  readonly marker: Version | undefined;
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
  /** Rows passed to the target; `undefined` while nothing in it was changed. */
  #copiedRows: number | undefined;
  #isDifferent = false;

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
      throw invalidOption(`Source and target must not be the same storage; got ${this.#to.name} twice.`);
    // refuse what can be refused before the freeze: it blocks writers, and the probe would wait,
    // too
    const dropped = (await this.#plan()).find(({ work }) => work === 'replace');
    if (dropped !== undefined) await this.#assertDifferent(dropped.database);
    const freeze = await this.#from.administration.freeze?.(this.#only);
    try {
      return await this.#copy(freeze);
    } catch (error) {
      throw this.#copiedRows === undefined
        ? error
        : interruptedCopy(error, this.#from.name, this.#to.name, this.#copiedRows);
    } finally {
      await release(freeze);
    }
  }

  #plan(): Promise<readonly Planned[]> {
    return planCopy(this.#from, this.#to, this.#settings, this.#only);
  }

  async #assertDifferent(database: string): Promise<void> {
    if (!this.#isDifferent) await assertDifferentStorages(this.#from, this.#to, database);
    this.#isDifferent = true;
  }

  /** Copies all databases before it compares any: so a sequential source is read only twice. */
  async #copy(freeze: Freeze | undefined): Promise<readonly CopiedDatabase[]> {
    const plan = await this.#plan();
    const copied = new Map<string, CopiedDatabase>();
    const compare = async (puts: readonly Copied[]): Promise<void> => {
      for (const [index, put] of puts.entries())
        copied.set(
          put.database,
          await this.#compare(put, { number: index + 1, databases: puts.length }, freeze),
        );
    };
    const existing = plan.filter(({ work }) => work === 'compare');
    // first compare the databases that should stay: if one is different, nothing is written
    await compare(existing.map(({ database }) => ({ database, rows: undefined, marker: undefined })));
    const missing = plan.filter(({ work }) => work !== 'compare');
    const puts: Copied[] = [];
    for (const [index, planned] of missing.entries())
      puts.push(await this.#put(planned, { number: index + 1, databases: missing.length }));
    await compare(puts);
    return plan.map(({ database }) => copied.get(database) as CopiedDatabase);
  }

  async #put({ database, work }: Planned, position: Position): Promise<Copied> {
    const total = await countRows(this.#from, database);
    const step = this.#reporter.startStep({ step: 'copying', database, ...position, total });
    if (work === 'replace') await this.#assertDifferent(database);
    this.#copiedRows ??= 0;
    if (work === 'replace') await this.#to.administration.drop(database);
    const marker = await markUnfinished(this.#to, database, this.#from);
    await this.#to.administration.import(database, this.#rowsOf(database, step.row));
    return { database, rows: step.end(), marker };
  }

  async *#rowsOf(database: string, onRow: (raw: RawRow) => void): AsyncGenerator<RawRow, undefined> {
    for await (const raw of soundRows(database, new CopiedRows(this.#from, database))) {
      onRow(raw);
      this.#copiedRows = (this.#copiedRows ?? 0) + 1;
      yield raw;
    }
    return undefined;
  }

  async #compare(
    { database, rows, marker }: Copied,
    position: Position,
    freeze: Freeze | undefined,
  ): Promise<CopiedDatabase> {
    const total = rows ?? (await countRows(this.#from, database));
    const step = this.#reporter.startStep({ step: 'comparing', database, ...position, total });
    const found = await compareDatabases(this.#from, this.#to, database, step.row);
    if (found.outcome === 'different') throw this.#difference(found.place, found.what, marker === undefined);
    step.end();
    await freeze?.verify();
    if (marker !== undefined) await markFinished(this.#to, database, marker);
    const outcome = marker === undefined ? 'there already' : 'copied';
    return { database, outcome, leases: found.leases, ...found.digest };
  }

  #difference(place: string, what: string, wasThere: boolean): Error {
    const { name } = this.#to;
    if (wasThere)
      return invalidOption(
        `The target is neither empty nor equal to the source: ${place} ${what} (${name}). It was not changed. To drop it first: ifPresent: 'replace' (kvent: --replace).`,
      );
    return storageError(
      'STORAGE_CORRUPT',
      `The rows read back from ${name} are not the rows that were copied: ${place} ${what}. Either the target stored a row wrongly, or a process wrote to one of the sides during the copy.`,
      { place },
    );
  }
}

/** All rows are verified by then, so a failure to end the freeze does not matter. */
async function release(freeze: Freeze | undefined): Promise<void> {
  try {
    await freeze?.[Symbol.asyncDispose]();
  } catch {
    // see above
  }
}
