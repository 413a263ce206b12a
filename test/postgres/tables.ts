/** Tables for the contract: each place of the kit is a table of its own in this worker's database, over one data source, as an application has it. */
import { kventMigrations } from '@kvent/key-value-postgres';
import type { HeldTransaction } from '@kvent/key-value-storage/testing';
import { DataSource } from 'typeorm';
import { workerDatabase } from './databases.js';

const schema = 'kit';
let source: Promise<DataSource> | undefined;

export interface TestTable {
  readonly dataSource: DataSource;
  readonly schema: string;
  readonly table: string;
  readonly migrate: 'never';
}

/** The table of a place, made when it is asked for first. */
export async function testTable(place: string): Promise<TestTable> {
  const dataSource = await (source ??= connect());
  // a copy of the migrated one takes a tenth of the time
  await dataSource.query(`create table if not exists ${nameOf(place)} (like ${schema}.template including all)`);
  return { dataSource, schema, table: place, migrate: 'never' };
}

export async function dropTable(place: string): Promise<void> {
  await (await (source ??= connect())).query(`drop table if exists ${nameOf(place)}`);
}

/** A transaction of the application. */
export async function beginTransaction(): Promise<HeldTransaction> {
  const runner = (await (source ??= connect())).createQueryRunner();
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
export async function damageTable(place: string): Promise<void> {
  await (await (source ??= connect())).query(`update ${nameOf(place)} set value = null where key >= 'key-5'`);
}

const nameOf = (place: string): string => `${schema}."${place}"`;

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
