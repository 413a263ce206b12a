/**
 * A process of an application on Postgres: `first-transactions-child.ts <url>`. Its first act are
 * six transactions at once that write one row; it prints their results as a line of JSON.
 */
import 'reflect-metadata';
import { defineState, isStorageError, openStorage } from '@kvent/key-value-storage/core';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { DataSource } from 'typeorm';

const [, , url = ''] = process.argv;
const source = await new DataSource({ type: 'postgres', url, extra: { max: 10 } }).initialize();
{
  await using storage = await openStorage(new PostgresProvider({ dataSource: source }));
  const products = storage.store(defineState<{ readonly sold: number }>('first'));
  const sell = async (sold: number): Promise<void> =>
    await source.transaction(async (manager) => void (await products.within(manager).set('mug', { sold })));
  const results = await Promise.allSettled([1, 2, 3, 4, 5, 6].map(sell));
  const shown = results.map((result) =>
    result.status === 'fulfilled' ? 'committed' : isStorageError(result.reason) && result.reason.code,
  );
  process.stdout.write(`${JSON.stringify(shown)}\n`);
}
await source.destroy();
