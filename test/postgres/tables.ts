/**
 * Tables for the contract: each location of the kit has one to itself, in this worker's database,
 * over one data source, as an application has it. A table is emptied and given to the next
 * location, since a new one costs more than most clauses: its files, and the statements that every
 * connection has to prepare for it.
 */
import { randomBytes } from 'node:crypto';
import { kventMigrations } from '@kvent/key-value-postgres';
import type { OpenTransaction } from '@kvent/key-value-storage/testing';
import { DataSource } from 'typeorm';
import { roleWithoutBypass, workerDatabase } from './databases.js';

export interface TestTable {
  readonly dataSource: DataSource;
  readonly schema: string;
  readonly table: string;
  readonly migrate: 'never';
}

interface TestTablesOptions {
  readonly schema: string;
  readonly rowLevelSecurity: boolean;
  readonly url: () => Promise<string>;
  /** Empties and damages tables, past row-level security. @default the tables' own */
  readonly admin?: TestTables;
}

/** A table with more bytes than this is truncated: new files are cheaper than dead rows. */
const deletedBytesMax = 1_000_000;

class TestTables {
  readonly #options: TestTablesOptions;
  readonly #names = new Map<string, string>();
  readonly #free: string[] = [];
  /** Another file of tests may have used this database before. */
  readonly #prefix = randomBytes(4).toString('hex');
  #count = 0;
  #source: Promise<DataSource> | undefined;

  constructor(options: TestTablesOptions) {
    this.#options = options;
  }

  /** The table of a location: the same until the location is disposed of. */
  async get(location: string): Promise<TestTable> {
    const dataSource = await this.source();
    const { schema } = this.#options;
    const table = this.#names.get(location) ?? this.#free.pop() ?? (await this.#create(dataSource));
    this.#names.set(location, table);
    return { dataSource, schema, table, migrate: 'never' };
  }

  async dispose(location: string): Promise<void> {
    const table = this.#names.get(location);
    if (table === undefined) return;
    this.#names.delete(location);
    const source = await this.source();
    const name = this.#quoted(table);
    const [{ large } = { large: true }] = await source.query<{ large: boolean }[]>(
      `select pg_total_relation_size($1) > ${deletedBytesMax} large`,
      [name],
    );
    await source.query(large ? `truncate ${name}` : `delete from ${name}`);
    this.#free.push(table);
  }

  /** What no statement of ours writes: living rows without a value. */
  async damage(location: string): Promise<void> {
    const name = this.#quoted(this.#names.get(location) as string);
    await (await this.#admin()).query(`update ${name} set value = null where key >= 'key-5'`);
  }

  /** A transaction of the application. */
  async begin(): Promise<OpenTransaction> {
    const runner = (await this.source()).createQueryRunner();
    await runner.startTransaction();
    const end = async (work: () => Promise<void>): Promise<void> => {
      try {
        await work();
      } finally {
        await runner.release();
      }
    };
    return {
      transaction: runner.manager,
      commit: () => end(() => runner.commitTransaction()),
      rollback: () => end(() => runner.rollbackTransaction()),
    };
  }

  source(): Promise<DataSource> {
    return (this.#source ??= this.#connect());
  }

  #admin(): Promise<DataSource> {
    return (this.#options.admin ?? this).source();
  }

  async #create(dataSource: DataSource): Promise<string> {
    const { schema, rowLevelSecurity } = this.#options;
    const table = `kit-${this.#prefix}-${(this.#count += 1)}`;
    const runner = dataSource.createQueryRunner();
    try {
      for (const Migration of kventMigrations({ schema, table, rowLevelSecurity }))
        await new Migration().up(runner);
    } finally {
      await runner.release();
    }
    return table;
  }

  async #connect(): Promise<DataSource> {
    const { schema, url } = this.#options;
    const dataSource = new DataSource({
      type: 'postgres',
      url: await url(),
      schema,
      // idle connections do not keep the test run alive
      extra: { allowExitOnIdle: true, max: 10 },
    });
    return await dataSource.initialize();
  }

  #quoted(table: string): string {
    return `${this.#options.schema}."${table}"`;
  }
}

export const plainTables = new TestTables({ schema: 'kit', rowLevelSecurity: false, url: workerDatabase });

/**
 * The same as a role of its own that cannot bypass row-level security: it owns its tables, and is
 * bound all the same.
 */
export const securedTables = new TestTables({
  schema: 'kit_secured',
  rowLevelSecurity: true,
  url: async () => await roleWithoutBypass(await workerDatabase(), 'kvent_kit_secured', 'kit_secured'),
  admin: plainTables,
});
