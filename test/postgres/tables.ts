/**
 * Tables for the contract: each location of the kit is a table of its own in this worker's database,
 * over one data source, as an application has it.
 */
import { kventMigrations } from '@kvent/key-value-postgres';
import type { OpenTransaction } from '@kvent/key-value-storage/testing';
import { DataSource } from 'typeorm';
import { roleWithoutBypass, workerDatabase } from './databases.js';

const schema = 'kit';
let source: Promise<DataSource> | undefined;

export interface TestTable {
  readonly dataSource: DataSource;
  readonly schema: string;
  readonly table: string;
  readonly migrate: 'never';
}

/** The table of a location, made when it is asked for first. */
export async function testTable(location: string): Promise<TestTable> {
  const dataSource = await (source ??= connect());
  // a copy of the migrated one takes a tenth of the time
  await dataSource.query(
    `create table if not exists ${nameOf(location)} (like ${schema}.template including all)`,
  );
  return { dataSource, schema, table: location, migrate: 'never' };
}

export async function dropTable(location: string): Promise<void> {
  await (await (source ??= connect())).query(`drop table if exists ${nameOf(location)}`);
}

/** A transaction of the application. */
export const beginTransaction = async (): Promise<OpenTransaction> =>
  await begin(await (source ??= connect()));

async function begin(dataSource: DataSource): Promise<OpenTransaction> {
  const runner = dataSource.createQueryRunner();
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

/** What no statement of ours writes: living rows without a value. */
export async function damageTable(location: string): Promise<void> {
  await (
    await (source ??= connect())
  ).query(`update ${nameOf(location)} set value = null where key >= 'key-5'`);
}

/**
 * The same as a role of its own that cannot bypass row-level security: it owns its tables, and is
 * bound all the same.
 */
export const securedSchema = 'kit_secured';
const securedRole = 'kvent_kit_secured';
let secured: Promise<DataSource> | undefined;

export async function securedTable(location: string): Promise<TestTable> {
  const dataSource = await (secured ??= connectSecured());
  await dataSource.query(
    `create table if not exists ${securedSchema}."${location}" (like ${securedSchema}.template including all)`,
  );
  const runner = dataSource.createQueryRunner();
  try {
    for (const Migration of kventMigrations({
      schema: securedSchema,
      table: location,
      rowLevelSecurity: true,
    }).slice(1))
      await new Migration().up(runner);
  } finally {
    await runner.release();
  }
  return { dataSource, schema: securedSchema, table: location, migrate: 'never' };
}

export async function dropSecuredTable(location: string): Promise<void> {
  await (await (secured ??= connectSecured())).query(`drop table if exists ${securedSchema}."${location}"`);
}

export const beginSecuredTransaction = async (): Promise<OpenTransaction> =>
  await begin(await (secured ??= connectSecured()));

export async function damageSecuredTable(location: string): Promise<void> {
  await (
    await (source ??= connect())
  ).query(`update ${securedSchema}."${location}" set value = null where key >= 'key-5'`);
}

async function connectSecured(): Promise<DataSource> {
  const url = await roleWithoutBypass(await workerDatabase(), securedRole, securedSchema);
  const dataSource = new DataSource({
    type: 'postgres',
    url,
    schema: securedSchema,
    migrations: kventMigrations({ schema: securedSchema, table: 'template' }),
    extra: { allowExitOnIdle: true, max: 10 },
  });
  await dataSource.initialize();
  await dataSource.runMigrations();
  return dataSource;
}

const nameOf = (location: string): string => `${schema}."${location}"`;

async function connect(): Promise<DataSource> {
  const dataSource = new DataSource({
    type: 'postgres',
    url: await workerDatabase(),
    schema,
    migrations: kventMigrations({ schema, table: 'template' }),
    // connections that nobody uses hold no test run open
    extra: { allowExitOnIdle: true, max: 10 },
  });
  await dataSource.initialize();
  await dataSource.query(`create schema if not exists ${schema}`);
  await dataSource.runMigrations();
  return dataSource;
}
